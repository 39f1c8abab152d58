//! Secrets come from files, never from the command line, where other people's eyes reach.

use std::{fs, path::Path};

use crate::error::Error;

/// Bytes of a secret, at most; a larger file is another one.
const LARGEST: usize = 4_096;

/// The secret that a file holds, without the line break at its end.
pub(super) fn read(flag: &str, path: &Path) -> Result<String, Error> {
    let failed = |what: String| Error::failed(format!("--{flag}: {}: {what}", path.display()));
    let bytes = fs::read(path).map_err(|error| failed(format!("can't be read: {error}")))?;
    if bytes.len() > LARGEST {
        return Err(failed("is larger than 4 KiB; give a file that holds the secret alone".into()));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("is not UTF-8 text".into()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(failed("is empty; give a file that holds the secret".into()));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_its_file_holds_without_the_last_line_break() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        for (content, secret) in [("s3cret\n", "s3cret"), (" a b \r\n", " a b "), ("x", "x")] {
            fs::write(&path, content).expect("written");
            assert_eq!(read("password-file", &path).expect("read"), secret);
        }
    }

    #[test]
    fn a_file_that_holds_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let error = || read("password-file", &path).expect_err("refused").to_string();
        assert!(error().contains("--password-file: ") && error().contains("can't be read"));
        fs::write(&path, "\n").expect("written");
        assert!(error().ends_with("is empty; give a file that holds the secret"), "{}", error());
        fs::write(&path, "x".repeat(5_000)).expect("written");
        assert!(error().contains("larger than 4 KiB"));
    }
}
