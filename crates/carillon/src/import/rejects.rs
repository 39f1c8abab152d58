//! The file of rejected rows: the columns as they came, and why each row was refused.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use csv::{Writer, WriterBuilder};

use crate::{
    csv_rows::Fault,
    error::Error,
    output::{
        cell::{defuse, undefuse},
        csv_fault,
        file::NewFile,
    },
};

/// Columns that say why; an import passes over columns that begin with `reject_`.
const WHY: [&str; 4] = ["reject_line", "reject_field", "reject_reason", "reject_message"];

/// More than any header has.
const HEADER_BYTES: u64 = 64 * 1024;

/// Written only where there is something to write.
pub struct RejectsFile {
    file: NewFile,
    header: Vec<(usize, String)>,
    delimiter: u8,
    writer: Option<Writer<File>>,
}

impl RejectsFile {
    /// `header` holds the columns to keep, with their position in the file that is imported.
    pub fn new(file: NewFile, header: Vec<(usize, String)>, delimiter: u8) -> Self {
        Self { file, header, delimiter, writer: None }
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
            return self.file.remove().map(|()| None).map_err(|error| self.failed(&error));
        };
        match writer.flush().and_then(|()| self.file.keep()) {
            Ok(()) => Ok(Some(self.file.path().to_owned())),
            Err(error) => {
                self.file.discard();
                Err(self.failed(&error))
            }
        }
    }

    fn writer(&mut self) -> Result<&mut Writer<File>, Error> {
        if self.writer.is_none() {
            let file = self.file.create().map_err(|error| self.failed(&error))?;
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
            self.file.path().display()
        ))
    }
}

impl Drop for RejectsFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            self.file.discard();
        }
    }
}

/// Whether a file may be replaced, or removed: rejects of an earlier import, or nothing.
pub fn is_one(path: &Path) -> io::Result<bool> {
    let mut header = String::new();
    BufReader::new(File::open(path)?.take(HEADER_BYTES)).read_line(&mut header)?;
    Ok(header.is_empty() || WHY.iter().all(|column| header.contains(column)))
}
