//! What became of messages after they were taken, as providers tell it: in any order, perhaps
//! before the call's own answer, perhaps ten times. It only ever raises a state.

use std::time::{Duration, Instant};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_service_kit::{
    Stop,
    metrics::{self, EVIDENCE_BASELESS},
};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    domain::sparing::Sparing,
    store::{self, Applied, Baseless, Store},
};

const BEAT: Duration = Duration::from_millis(250);

/// One thing that a provider said of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub organisation: OrganisationId,
    pub run_day: i32,
    pub message: MessageId,
    pub says: Says,
    /// The provider's own code; never its text.
    pub provider_code: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// The provider took it.
    Sent,
    Delivered,
    /// Taken, and could not be delivered.
    Undelivered,
    /// Proof that it was never taken: what was unknown has failed, and one call in doubt is so no
    /// longer.
    NeverAccepted,
}

impl Says {
    const ALL: [Self; 4] = [Self::NeverAccepted, Self::Sent, Self::Undelivered, Self::Delivered];

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|says| says.word() == word)
    }

    /// Of what is said of one message the strongest counts.
    pub(crate) fn rank(self) -> usize {
        Self::ALL.iter().position(|says| *says == self).unwrap_or_default()
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::NeverAccepted => "never_accepted",
        }
    }
}

/// Where callbacks leave what they hear.
#[derive(Clone)]
pub struct EvidenceInbox(pub(crate) Store);

impl EvidenceInbox {
    /// Returns once it is on disk: the provider may then be answered.
    pub async fn keep(&self, evidence: Vec<Evidence>) -> Result<(), DbErr> {
        if evidence.is_empty() {
            return Ok(());
        }
        self.0.keep_evidence(&evidence).await
    }

    /// The same within a transaction of the caller's: it is on disk when that is committed.
    pub async fn keep_within(
        &self,
        tx: &DatabaseTransaction,
        evidence: &[Evidence],
    ) -> Result<(), DbErr> {
        if evidence.is_empty() {
            return Ok(());
        }
        self.0.keep_evidence_within(tx, evidence).await
    }

    /// Kept, and not applied yet.
    pub async fn waiting(&self) -> Result<i64, DbErr> {
        Ok(store::evidence(&self.0.database).await?.0)
    }
}

pub(crate) async fn apply_all(
    store: Store,
    channel: &'static str,
    stop: Stop,
) -> Result<(), DbErr> {
    let mut sparing = Sparing::default();
    tell_baseless(&Applied::default(), channel, &mut sparing);
    while stop.sleep(BEAT).await {
        // Looked at first: nobody takes a writer's turn for nothing.
        while store::has_evidence(&store.database).await? {
            let applied = store.apply_evidence().await?;
            tell_baseless(&applied, channel, &mut sparing);
            // What is left waits for something else.
            if applied.done == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// An increment of 0 shows the counter from the start.
fn tell_baseless(applied: &Applied, channel: &'static str, sparing: &mut Sparing) {
    let count = |more| metrics::count(EVIDENCE_BASELESS, &[("channel", channel)], more);
    count(0);
    for (organisation, Baseless { receipts, message }) in &applied.baseless {
        count(*receipts);
        if let Some(receipts) = sparing.line(*organisation, *receipts, Instant::now()) {
            tracing::warn!(
                %organisation, message_id = %message, receipts,
                "receipts for messages that were never sent; not applied"
            );
        }
    }
}
