//! Rules of messages: plain types, no I/O.

pub(crate) mod addressee;
pub(crate) mod backoff;
pub(crate) mod claim;
pub mod outcome;
pub(crate) mod sparing;
pub(crate) mod unpaid;
