//! Every statement of a dispatcher. All that touches messages goes through `step`, in one order:
//! fence, batches, records, claims, totals, events.

mod batches;
mod messages;
mod migration;
mod step;
mod takeover;
mod totals;

pub(crate) use batches::{Due, accepted, due_of_all_organisations, job, money_arrived, raises};
pub(crate) use messages::Recorded;
pub use migration::Migrator;
pub(crate) use step::{Answer, Claim, ClaimKind, Record, Step, Store};
