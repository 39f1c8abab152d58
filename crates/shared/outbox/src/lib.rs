//! Events between services: written in the transaction that they tell of, numbered and published
//! by the relay, handled once by each subscriber, and kept until every subscriber's mark has
//! passed them. So a wiped broker loses nothing.

mod again;
mod append;
mod consume;
mod headers;
mod heard;
mod marks;
mod migration;
mod relay;

pub use append::Outbox;
pub use consume::{Handler, HandlerError, Subscriber};
pub use migration::CreateOutbox;
