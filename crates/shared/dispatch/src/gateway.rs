//! The port behind which a way of sending stands.

use async_trait::async_trait;
use carillon_contracts::{
    ids::{MessageId, OrganisationId},
    jobs::v1::{Channel, Content},
};
use jiff::Timestamp;

use crate::{Outcome, Recipient};

/// A message at the moment of its call.
pub struct Outgoing<'a> {
    pub organisation: OrganisationId,
    pub message: MessageId,
    pub run_day: i32,
    pub recipient: Recipient<'a>,
    pub deadline: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
}

#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Content compiled once a batch.
    type Prepared: Send + Sync + 'static;

    fn channel(&self) -> Channel;

    /// An error is the content's own fault and fails every message of the batch.
    fn prepare(&self, content: &Content) -> Result<Self::Prepared, String>;

    /// What the message costs, in units.
    fn units(&self, prepared: &Self::Prepared, recipient: Recipient<'_>) -> u32;

    /// One call. Whoever implements it says what became of it, and never calls twice.
    async fn send(&self, prepared: &Self::Prepared, outgoing: Outgoing<'_>) -> Outcome;
}
