//! Events between services: written in the transaction that they tell of, numbered and published
//! by the relay, handled once by each subscriber, and kept until every subscriber's mark has
//! passed them. So a wiped broker loses nothing.

mod again;
mod append;
mod consume;
mod documents;
mod effects;
mod figures;
mod headers;
mod inbox;
mod marks;
mod migration;
pub mod parked;
mod relay;
mod subscriber;

pub use append::Outbox;
pub use documents::Documents;
pub use effects::{Change, EffectsWatch, effects_pending};
pub use figures::{Figures, Lag, figures};
pub use migration::{AddDocuments, CreateOutbox};
pub use subscriber::{Handler, HandlerError, Subscriber};
