//! The port behind which billing stands. Channels that cost nothing have none.

use async_trait::async_trait;
use carillon_contracts::ids::{BatchId, CampaignId, OrganisationId, RunId};

/// Billing is out of reach: what is not yet paid for waits.
#[derive(Debug, thiserror::Error)]
#[error("billing is out of reach: {0}")]
pub struct FundsUnavailable(pub String);

/// What a batch asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub run: RunId,
    pub batch: BatchId,
    /// Units of the whole batch.
    pub wanted: i64,
    /// Units that its grant is spent on already.
    pub used: i64,
    /// Units of each message that is still to be paid for, in payload order.
    pub units: Vec<u32>,
}

#[async_trait]
pub trait Funds: Send + Sync + 'static {
    /// The cumulative grant of the batch, in units, of which whole messages can be paid. Asking
    /// again never grants twice.
    async fn hold(&self, ask: Ask) -> Result<i64, FundsUnavailable>;
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
