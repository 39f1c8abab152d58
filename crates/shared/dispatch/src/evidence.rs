//! What became of messages after they were taken, as providers tell it: in any order, perhaps
//! before the call's own answer, perhaps ten times. It only ever raises a state.

use std::time::Duration;

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_service_kit::{Stop, metrics};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::store::{self, Store};

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
    let count = |baseless| {
        metrics::count(metrics::EVIDENCE_BASELESS, &[("channel", channel)], baseless);
    };
    count(0);
    while stop.sleep(BEAT).await {
        // Looked at first: nobody takes a writer's turn for nothing.
        while store::has_evidence(&store.database).await? {
            let applied = store.apply_evidence().await?;
            if applied.baseless > 0 {
                let baseless = applied.baseless;
                count(baseless as u64);
                tracing::warn!(baseless, "receipts for messages that were never sent; not applied");
            }
            // What is left waits for something else.
            if applied.done == 0 {
                break;
            }
        }
    }
    Ok(())
}
