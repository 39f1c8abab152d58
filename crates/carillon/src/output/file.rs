//! Files that results go to: there whole, or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A file that is written beside its place first. What is no regular file, such as `/dev/null`, a
/// pipe or a link, is written to, and stays what it is; `-` is standard output.
pub struct NewFile {
    path: PathBuf,
    temporary: Option<PathBuf>,
}

impl NewFile {
    pub fn at(path: &Path) -> Self {
        let path = if path == Path::new("-") { Path::new("/dev/stdout") } else { path };
        let replaces = fs::symlink_metadata(path).map_or(true, |there| there.is_file());
        Self { path: path.to_owned(), temporary: replaces.then(|| beside(path)) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn create(&self) -> io::Result<File> {
        File::create(self.temporary.as_ref().unwrap_or(&self.path))
    }

    /// Puts what was written in its place.
    pub fn keep(&self) -> io::Result<()> {
        self.temporary.as_ref().map_or(Ok(()), |temporary| fs::rename(temporary, &self.path))
    }

    /// Takes away what was written and not kept.
    pub fn discard(&self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }

    /// Takes away what an earlier run left in its place.
    pub fn remove(&self) -> io::Result<()> {
        match self.temporary.as_ref().map(|_| fs::remove_file(&self.path)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// So that renaming is one step of the file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_there_once_it_is_kept_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("new"), folder.path().join("link"));
        let file = NewFile::at(&path);
        file.create().and_then(|mut file| file.write_all(b"new")).expect("written");
        assert!(!path.exists());
        file.keep().expect("kept");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let linked = NewFile::at(&link);
        linked.create().and_then(|mut file| file.write_all(b"newer")).expect("written");
        linked.keep().expect("kept");
        linked.discard();
        linked.remove().expect("left alone");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&path).expect("there"), b"newer");
        NewFile::at(&path).remove().expect("removed");
        assert!(!path.exists());
        NewFile::at(&path).remove().expect("not there");
    }
}
