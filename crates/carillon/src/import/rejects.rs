//! The file of rejected rows: the columns as they came, and why each row was refused.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use csv::{Writer, WriterBuilder};

use crate::{
    csv_rows::Fault,
    error::Error,
    output::{
        cell::{defuse, undefuse},
        csv_fault,
    },
};

/// Columns that say why; an import passes over columns that begin with `reject_`.
const WHY: [&str; 4] = ["reject_line", "reject_field", "reject_reason", "reject_message"];

/// Written under a temporary name, and only where there is something to write.
pub struct RejectsFile {
    path: PathBuf,
    temporary: PathBuf,
    header: Vec<(usize, String)>,
    delimiter: u8,
    writer: Option<Writer<File>>,
}

impl RejectsFile {
    /// `header` holds the columns to keep, with their position in the file that is imported.
    pub fn new(path: PathBuf, header: Vec<(usize, String)>, delimiter: u8) -> Self {
        let temporary = temporary_name(&path);
        Self { path, temporary, header, delimiter, writer: None }
    }

    pub fn write(&mut self, fault: &Fault) -> Result<(), Error> {
        let (line, why) = (fault.line.to_string(), [&fault.field, &fault.reason, &fault.message]);
        // The cell as it was meant: a formula that came defused must not be defused twice.
        let mut cells: Vec<String> = (self.header.iter())
            .map(|(column, _)| defuse(undefuse(fault.cells.get(*column).unwrap_or_default())))
            .collect();
        cells.push(line);
        cells.extend(why.into_iter().map(|text| defuse(text)));
        let written = match self.writer()?.write_record(&cells) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        Err(self.failed(&csv_fault(written)))
    }

    /// Puts the file in its place; answers where, if there was a reject. Without one, those of an
    /// earlier import go: they would be taken for this one's.
    pub fn finish(mut self) -> Result<Option<PathBuf>, Error> {
        let Some(mut writer) = self.writer.take() else {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&error)),
                _ => Ok(None),
            };
        };
        let done = writer.flush().and_then(|()| fs::rename(&self.temporary, &self.path));
        match done {
            Ok(()) => Ok(Some(self.path.clone())),
            Err(error) => {
                let _ = fs::remove_file(&self.temporary);
                Err(self.failed(&error))
            }
        }
    }

    fn writer(&mut self) -> Result<&mut Writer<File>, Error> {
        if self.writer.is_none() {
            let file = File::create(&self.temporary).map_err(|error| self.failed(&error))?;
            let mut writer = WriterBuilder::new().delimiter(self.delimiter).from_writer(file);
            let names = self.header.iter().map(|(_, name)| name.as_str());
            let header = writer.write_record(names.chain(WHY));
            header.map_err(|error| self.failed(&csv_fault(error)))?;
            self.writer = Some(writer);
        }
        self.writer.as_mut().ok_or_else(|| Error::failed("the rejects file is not open"))
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::failed(format!(
            "--rejects: '{}' can't be written: {error}; name a file in a folder that can",
            self.path.display()
        ))
    }
}

impl Drop for RejectsFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A name beside `path`, so that renaming is one step of the file system.
pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
