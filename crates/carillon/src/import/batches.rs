//! Cuts a file into requests.

use std::io::BufRead;

use csv::StringRecord;
use tokio::sync::mpsc;

use super::{Importable, Source};
use crate::{
    csv_rows::{Fault, Item, Record, Rows, UNCLOSED_QUOTE, unreadable},
    error::Error,
    output::thousands,
};

/// Rows of a request, at most: half of what the server takes.
const ROWS: usize = 500;
/// Bytes of the file in a request, about: far below gRPC's 4 MiB, however long the rows are.
const BYTES: u64 = 256 * 1024;

/// Quotes that never close, of one file: with so many it is no CSV, and each would be a reject.
const UNCLOSED_QUOTES: u64 = 10_000;

/// A request, and what is kept to answer for it.
pub struct Batch<R> {
    /// `None` where every row of it was refused before it was sent.
    pub request: Option<R>,
    pub origin: Origin,
}

/// Where the rows of a request came from.
#[derive(Default)]
pub struct Origin {
    /// Line and cells of each row, in the request's order.
    pub rows: Vec<(u64, StringRecord)>,
    /// Refused before they were sent.
    pub faults: Vec<Fault>,
    /// Bytes of the file up to the end of the batch.
    pub bytes: u64,
}

pub struct Batches<I> {
    rows: Rows<Box<dyn BufRead + Send>>,
    file: String,
    kind: I,
}

impl<I: Importable> Batches<I> {
    pub fn open(source: Source) -> Result<Self, Error> {
        let rows = Rows::open(&source.name, source.reader)?;
        let kind = I::columns(&source.name, rows.header())?;
        Ok(Self { rows, file: source.name, kind })
    }

    /// The columns that a rejected row keeps, with their positions.
    pub fn data_header(&self) -> Vec<(usize, String)> {
        let name = |column: usize| self.rows.header().get(column).unwrap_or_default().to_owned();
        self.kind.data_columns().into_iter().map(|column| (column, name(column))).collect()
    }

    pub fn delimiter(&self) -> u8 {
        self.rows.delimiter()
    }

    /// Reads to the end, or until nobody takes the batches any more. Blocks.
    pub fn read(mut self, batches: &mpsc::Sender<Batch<I::Request>>) -> Result<(), Error> {
        let mut rows = Vec::new();
        let mut origin = Origin { bytes: self.rows.bytes(), ..Origin::default() };
        let mut begun = origin.bytes;
        let mut unclosed = 0;
        loop {
            let item = self.rows.next_item().map_err(|error| unreadable(&self.file, &error))?;
            let end = item.is_none();
            match item {
                Some(Item::Record(record)) => self.take(record, &mut rows, &mut origin),
                Some(Item::Fault(fault)) => {
                    unclosed += u64::from(fault.reason == UNCLOSED_QUOTE);
                    if unclosed >= UNCLOSED_QUOTES {
                        return Err(too_many_unclosed(&self.file, fault.line));
                    }
                    origin.faults.push(fault);
                }
                None => {}
            }
            origin.bytes = self.rows.bytes();
            let taken = origin.rows.len() + origin.faults.len();
            if taken > 0 && (end || taken >= ROWS || origin.bytes - begun >= BYTES) {
                begun = origin.bytes;
                let rows = std::mem::take(&mut rows);
                let request = (!rows.is_empty()).then(|| self.kind.request(rows));
                let origin = std::mem::take(&mut origin);
                if batches.blocking_send(Batch { request, origin }).is_err() {
                    return Ok(());
                }
            }
            if end {
                return Ok(());
            }
        }
    }

    fn take(&mut self, record: Record, rows: &mut Vec<I::Row>, origin: &mut Origin) {
        let Record { line, lines, cells } = record;
        match self.kind.row(&cells) {
            Ok(row) => {
                rows.push(row);
                origin.rows.push((line, cells));
            }
            Err(refusal) => origin.faults.push(Fault {
                line,
                lines,
                field: refusal.field.to_owned(),
                reason: refusal.reason.to_owned(),
                message: refusal.message,
                cells,
            }),
        }
    }
}

fn too_many_unclosed(file: &str, line: u64) -> Error {
    Error::failed(format!(
        "{file}:{line}: this is the {}th line with a quote that never closes (unclosed_quote), and no more are read; close the quotes, or double those that belong to the text",
        thousands(UNCLOSED_QUOTES)
    ))
}
