//! HOW, for any channel: the state machine of messages, the claims that make a send happen once,
//! retries, and the port behind which a gateway stands. A dispatcher is this plus a gateway.

mod ask;
mod claims_in_hand;
mod clearance;
mod committer;
mod deliver;
mod domain;
mod evidence;
mod figures;
mod funds;
mod gateway;
mod halts;
mod heartbeat;
mod in_hand;
mod open;
mod pace;
mod part_counts;
mod permits;
mod raise;
mod retry;
pub mod sandbox;
mod send;
mod start;
mod store;
mod throttle;
mod traces;

pub use clearance::Clearance;
pub use domain::outcome::Outcome;
pub use evidence::{Evidence, EvidenceInbox, Says};
pub use funds::{Ask, Funds, FundsUnavailable};
pub use gateway::{Account, Gateway, InSeries, Outgoing, Throttle};
pub use open::Recipient;
pub use permits::{MICRO_BATCH, Permits};
pub use start::{Dispatching, Parts, start, start_beating};
pub use store::Migrator;
