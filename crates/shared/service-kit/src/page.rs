//! Pages of list methods (AIP-158).

use tonic::Status;

use crate::status::invalid;

pub const DEFAULT: i64 = 100;
pub const MOST: i64 = 1_000;

/// The rows of a page: what was asked for, 100 if nothing was, 1,000 at most.
pub fn size(asked: i32) -> Result<i64, Status> {
    match i64::from(asked) {
        0 => Ok(DEFAULT),
        1.. => Ok(i64::from(asked).min(MOST)),
        _ => Err(invalid("page_size", format!("{asked} is negative; give 1 to {MOST}, or none"))),
    }
}

/// Where a page begins: at `first`, or where the token of the page before it says.
pub fn place<T>(token: &str, first: T, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Status> {
    if token.is_empty() {
        return Ok(first);
    }
    parse(token)
        .ok_or_else(|| invalid("page_token", "is not one that this method gave; start without it"))
}

/// Lists read one row more than a page holds; this cuts it off and answers whether it was there.
pub fn cut<T>(rows: &mut Vec<T>, size: i64) -> bool {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    more
}
