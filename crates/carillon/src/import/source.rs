//! Where the rows come from.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::rejects;
use crate::{error::Error, output::file::NewFile};

const BUFFER: usize = 256 * 1024;

/// An opened file, or standard input.
pub struct Source {
    /// For messages.
    pub name: String,
    /// Bytes, where they are known.
    pub size: Option<u64>,
    pub(super) reader: Box<dyn BufRead + Send>,
    path: Option<PathBuf>,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            let reader = Box::new(BufReader::with_capacity(BUFFER, io::stdin()));
            return Ok(Self { name: "standard input".to_owned(), size: None, reader, path: None });
        }
        let name = path.display().to_string();
        let failed = |error: &io::Error| Error::failed(format!("{name}: can't be read: {error}"));
        let file = File::open(path).map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if metadata.is_dir() {
            return Err(Error::failed(format!("{name}: is a folder; name a CSV file")));
        }
        let size = metadata.is_file().then_some(metadata.len());
        let reader = Box::new(BufReader::with_capacity(BUFFER, file));
        Ok(Self { name, size, reader, path: Some(path.to_owned()) })
    }

    /// Rows that are in memory.
    pub fn bytes(name: &str, bytes: Vec<u8>) -> Self {
        let size = Some(bytes.len() as u64);
        Self { name: name.to_owned(), size, reader: Box::new(io::Cursor::new(bytes)), path: None }
    }

    /// Where rejected rows go: `FILE.rejects.csv` for `FILE.csv`, unless another file is given.
    pub(super) fn rejects_file(&self, given: Option<&Path>) -> Result<NewFile, Error> {
        let path = match (given, &self.path) {
            (Some(given), _) => given.to_owned(),
            (None, Some(path)) => path.with_extension("rejects.csv"),
            (None, None) => PathBuf::from("stdin.rejects.csv"),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(Error::failed(format!(
                "--rejects: '{}' lies in a folder that is not there; name another",
                path.display()
            )));
        }
        let same = self.path.as_ref().is_some_and(|source| {
            source
                .canonicalize()
                .is_ok_and(|source| path.canonicalize().is_ok_and(|path| path == source))
        });
        if same {
            return Err(Error::usage(format!(
                "--rejects: '{}' is the file that is imported; name another",
                path.display()
            )));
        }
        if path.is_file() && !rejects::is_one(&path).unwrap_or(false) {
            return Err(Error::usage(format!(
                "--rejects: '{}' is there, and holds no rejects of an earlier import; name another, or remove it",
                path.display()
            )));
        }
        Ok(NewFile::at(&path))
    }
}
