//! The provider's count of a message's parts beside ours. What is posted is ours; a difference
//! means that the provider's invoice and the ledger drift apart, so somebody is told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_service_kit::metrics::{self, PARTS_DIFFERING};

use crate::domain::{outcome::Outcome, sparing::Sparing};

#[derive(Clone)]
pub(crate) struct PartCounts {
    channel: &'static str,
    sparing: Arc<Mutex<Sparing>>,
}

impl PartCounts {
    pub(crate) fn new(channel: &'static str) -> Self {
        let counts = Self { channel, sparing: Arc::default() };
        counts.count(0);
        counts
    }

    fn count(&self, more: u64) {
        metrics::count(PARTS_DIFFERING, &[("channel", self.channel)], more);
    }

    /// Once for each call: only what was taken has a count.
    pub(crate) fn compare(
        &self,
        organisation: OrganisationId,
        message: MessageId,
        ours: u32,
        outcome: &Outcome,
    ) {
        let Outcome::Sent { parts: Some(theirs), .. } = outcome else { return };
        if *theirs == ours {
            return;
        }
        self.count(1);
        let line = {
            let mut sparing = self.sparing.lock().unwrap_or_else(PoisonError::into_inner);
            sparing.line(organisation, 1, Instant::now())
        };
        if let Some(messages) = line {
            tracing::warn!(
                %organisation, message_id = %message, ours, theirs, messages,
                "the provider counts other parts than are posted"
            );
        }
    }
}
