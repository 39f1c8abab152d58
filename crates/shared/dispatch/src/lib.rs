//! HOW, for any channel: the state machine of messages, the claims that make a send happen once,
//! retries, and the port behind which a gateway stands. A dispatcher is this plus a gateway.

mod committer;
mod deliver;
mod domain;
mod funds;
mod gateway;
mod in_hand;
mod open;
mod permits;
mod raise;
mod retry;
pub mod sandbox;
mod send;
mod start;
mod store;

pub use domain::outcome::Outcome;
pub use funds::{Funds, FundsUnavailable};
pub use gateway::{Account, Clearance, Gateway, Outgoing, Throttle};
pub use open::Recipient;
pub use permits::{MICRO_BATCH, Permits};
pub use start::{Parts, start};
pub use store::Migrator;
