//! Plain types and rules.

pub(crate) mod keyword;
