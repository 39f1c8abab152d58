//! The port behind which billing stands. Channels that cost nothing have none.

use async_trait::async_trait;
use carillon_contracts::ids::{BatchId, OrganisationId};

/// Billing is out of reach: what is not yet paid for waits.
#[derive(Debug, thiserror::Error)]
#[error("billing is out of reach: {0}")]
pub struct FundsUnavailable(pub String);

#[async_trait]
pub trait Funds: Send + Sync + 'static {
    /// The cumulative grant of a batch, in units. Asking again never grants twice.
    async fn hold(
        &self,
        organisation: OrganisationId,
        batch: BatchId,
        wanted: i64,
    ) -> Result<i64, FundsUnavailable>;
}

/// What a claim may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Funding {
    Free,
    /// Units granted to the batch, cumulative. `raises` is how often credits had been raised when
    /// billing was asked: if it has changed since, it is worth asking again at once.
    Granted {
        units: i64,
        raises: i64,
    },
    Unavailable,
}
