//! Plain types and rules.

pub(crate) mod health;
pub(crate) mod keyword;
