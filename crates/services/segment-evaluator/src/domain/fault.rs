//! What is wrong with a row.

use std::borrow::Cow;

/// Why a row is not stored. The message says the rule and the remedy, never the value, for it goes
/// into files of rejected rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub field: Cow<'static, str>,
    /// A stable snake_case code.
    pub reason: Cow<'static, str>,
    pub message: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), reason: reason.into(), message: message.into() }
    }
}
