//! Every statement of this service.

mod accounts;
mod holds;
mod migration;

pub(crate) use accounts::{
    NewEntry, account, add_credit, credited_by_request, entries, lock_account, move_credits,
};
pub(crate) use holds::{HoldRow, any_short, hold, save_hold};
pub use migration::Migrator;
