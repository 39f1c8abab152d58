//! Pages of things that may be large.

use tonic::Status;

use carillon_service_kit::page;

/// A page ends early rather than outgrow the 4 MiB that a gRPC client takes.
const MOST_BYTES: usize = 3 * 1024 * 1024;
/// Rows read at a time, for one may hold most of a megabyte.
pub(crate) const CHUNK: i64 = 20;

/// A page that fills up.
pub(crate) struct Page<R> {
    pub rows: Vec<R>,
    size: usize,
    bytes: usize,
}

impl<R> Page<R> {
    pub(crate) fn of_size(asked: i32) -> Result<Self, Status> {
        let size = usize::try_from(page::size(asked)?).unwrap_or(usize::MAX);
        Ok(Self { rows: Vec::new(), size, bytes: 0 })
    }

    /// Answers whether the row has its place: one has in any case, so that every page goes on.
    pub(crate) fn takes(&mut self, row: R, bytes: usize) -> bool {
        self.bytes += bytes;
        let full = self.rows.len() == self.size || self.bytes > MOST_BYTES && !self.rows.is_empty();
        if !full {
            self.rows.push(row);
        }
        !full
    }
}
