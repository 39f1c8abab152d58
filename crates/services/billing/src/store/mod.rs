//! Every statement of this service.

mod accounts;
mod holds;
mod migration;

pub(crate) use accounts::{
    EntryRow, Reference, account, credited_by_request, entries, keep_request, lock_account, save,
    save_account,
};
pub(crate) use holds::{ListedHold, Listing, any_short, hold, holds, save_hold};
pub use migration::Migrator;
