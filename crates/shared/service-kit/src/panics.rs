//! Panics that end the work they happened in, and nothing else.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt as _;

/// Displays what the panic said.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
pub struct Panicked(String);

/// Runs work whose panic must not end its task. What the work held is dropped on the way out, so a
/// transaction is rolled back.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked(said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_what_it_said() {
        assert_eq!(caught(async { 7 }).await.expect("no panic"), 7);
        let number = 7;
        let formatted = caught(async { panic!("row {number}") }).await.map(|(): ()| ());
        assert_eq!(formatted.expect_err("a panic").to_string(), "it panicked: row 7");
        let plain = caught(async { panic!("a word") }).await.map(|(): ()| ());
        assert_eq!(plain.expect_err("a panic").to_string(), "it panicked: a word");
    }
}
