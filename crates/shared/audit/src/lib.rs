//! Who changed what, by which key, when, from what and to what. A service writes a deed down in the
//! transaction that does it: campaign-api in the log that people read, the others as an event that
//! campaign-api copies there. Secrets never stand in it, nor what customers are called or reached at.

pub mod acts;
mod change;
mod deed;
mod entry;
mod log;
mod migration;

pub use change::{Change, Fields, fields};
pub use deed::{Deed, tell, write};
pub use entry::Entry;
pub use log::{Checked, Logged, append, entries, take_turns, verify};
pub use migration::CreateAudit;

use carillon_contracts::ids::OrganisationId;
use uuid::Uuid;

/// The platform's own chain of entries stands under this id, which no organisation has.
pub const PLATFORM: OrganisationId = OrganisationId::new(Uuid::nil());
