//! The data folder: one process at a time, and the secrets that it keeps.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use carillon_sealing::WrappingKey;

use crate::error::Error;

/// The folder, locked for as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed(format!(
                "--data: '{}' cannot be used: {error}; give a folder that can be written",
                path.display()
            ))
        };
        // What is in it is for its owner's eyes alone.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(path.join("outbox")).map_err(|error| failed(&error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::failed(format!(
                "--data: '{}' is in use by another `carillon dev`; stop that one, or give \
                 another folder",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Made for a new folder only: what an older key sealed would be lost to a new one.
    pub(super) fn wrapping_key(&self) -> Result<WrappingKey, Error> {
        let file = self.join("wrapping-key");
        if !file.exists() && self.join("segment-evaluator.db").exists() {
            return Err(Error::failed(format!(
                "{}: missing, and what is stored beside it is sealed with it; put it back, or \
                 give another --data",
                file.display()
            )));
        }
        let hex = self.secret("wrapping-key", || {
            WrappingKey::generate_hex().map_err(|error| Error::failed(error.to_string()))
        })?;
        WrappingKey::from_hex(hex.as_bytes())
            .map_err(|error| Error::failed(format!("{}: {error}", file.display())))
    }

    /// The secret of this name, made on first use and readable by its owner alone.
    pub(super) fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, Error>,
    ) -> Result<String, Error> {
        let path = self.join(name);
        if let Ok(secret) = fs::read_to_string(&path)
            && !secret.trim().is_empty()
        {
            return Ok(secret.trim().to_owned());
        }
        let secret = make()?;
        write_secret(&path, &secret)?;
        Ok(secret)
    }
}

/// For its owner's eyes alone. Written beside and renamed, so that a kill leaves no half of it.
pub(crate) fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(fresh, path)
}
