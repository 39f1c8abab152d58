//! Every statement of this service's own; the others are those of `dispatch`.

mod migration;
mod replies;
mod smsc;

pub use migration::Migrator;
pub(crate) use replies::{forget_replies_of_all_organisations, note_reply};
pub(crate) use smsc::{Accepted, Key, SmscStore, Told};
