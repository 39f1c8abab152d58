//! Plain types and rules: no database, no broker, no clock.

pub(crate) mod activity;
pub(crate) mod apply;
pub(crate) mod changed;
pub(crate) mod check;
pub(crate) mod consent;
pub(crate) mod dates;
pub(crate) mod decide;
pub(crate) mod email;
pub(crate) mod fault;
pub(crate) mod filter;
pub(crate) mod mask;
pub(crate) mod phone;
pub(crate) mod places;
pub(crate) mod record;
pub(crate) mod standing;
pub(crate) mod variables;
