//! When a campaign is due: plain rules over instants and local dates.

mod occurrence;

pub(crate) use occurrence::{NOW, Occurrence, pending_period};
