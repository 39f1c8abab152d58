//! Plain rules of money; no I/O.

pub(crate) mod hold;
pub(crate) mod ledger;
