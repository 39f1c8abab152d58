//! One claim in the course of a step: what it has taken, and what it makes of a row.

use carillon_contracts::{ids::MessageId, vocabulary::MessageState};

use super::{
    messages::{ClaimId, Claimed, Found, Written},
    step::{Claim, Which},
    totals::Book,
};
use crate::{
    domain::{
        addressee::Addressee,
        claim::{Claiming, Terms, Verdict},
    },
    funds::Funding,
};

pub(super) struct OneClaim<'a> {
    pub index: usize,
    pub id: ClaimId,
    pub claim: &'a Claim,
    pub terms: Terms,
}

impl OneClaim<'_> {
    /// Rows that this very claim took in a commit whose answer was lost: it was not handed over,
    /// so they may be sent.
    pub(super) fn taken(&self, found: &[Found]) -> Vec<Claimed> {
        found
            .iter()
            .filter(|row| row.state == MessageState::Sending && row.claim == self.id)
            .map(|row| Claimed {
                position: row.position as usize,
                attempt: row.attempt,
                parts: row.parts,
            })
            .collect()
    }

    pub(super) fn addressee(&self, position: usize) -> Addressee {
        self.claim.addressees.get(position).copied().unwrap_or_default()
    }

    pub(super) fn requires_consent(&self) -> bool {
        self.claim.account.as_deref().is_some_and(|account| account.require_consent)
    }

    pub(super) fn claiming(&self, book: &Book, taken: usize) -> Claiming {
        let used = match self.terms.funding {
            Funding::Granted { .. } => book.count.used_units(),
            Funding::Free | Funding::Unavailable => 0,
        };
        Claiming::new(self.terms, used, self.claim.permits.saturating_sub(taken))
    }

    /// A call that was perhaps taken is repeated only where the provider would notice.
    pub(super) fn is_for(&self, row: &Found, which: Which) -> bool {
        let Terms { now_ms, deadline_ms, instead, wait, .. } = self.terms;
        if now_ms >= deadline_ms || instead.is_some() {
            return true;
        }
        let own = self.claim.account.as_deref().is_some_and(|account| {
            account.name == row.account && (account.idempotent || wait.is_some())
        });
        match which {
            Which::Ours => !row.doubtful || own,
            Which::Doubtful => row.doubtful && own,
        }
    }

    pub(super) fn write(
        &self,
        verdict: Verdict,
        message: MessageId,
        position: u32,
        attempt: u32,
        (parts, units): (u32, u32),
    ) -> Written {
        let (state, reason, attempt, next_attempt_ms) = match verdict {
            Verdict::Send => (MessageState::Sending, "", attempt + 1, None),
            Verdict::Wait { reason, until_ms } => {
                (MessageState::Queued, reason.word(), attempt, Some(until_ms))
            }
            Verdict::Settle { state, reason } => (state, reason, attempt, None),
        };
        let account = self.claim.account.as_deref().filter(|account| account.idempotent);
        Written {
            message,
            position,
            state,
            reason,
            attempt,
            parts,
            units,
            next_attempt_ms,
            idempotent: account.is_some(),
            account: account.map(|account| account.name.clone()).unwrap_or_default(),
        }
    }

    /// A doubtful row keeps its account, and never ends as if it had surely not been taken.
    pub(super) fn write_over(&self, verdict: Verdict, row: &Found) -> Written {
        let verdict = match verdict {
            Verdict::Settle { .. } if row.doubtful => {
                Verdict::Settle { state: MessageState::Unknown, reason: "in_doubt" }
            }
            other => other,
        };
        let written =
            self.write(verdict, row.message, row.position, row.attempt, (row.parts, row.units));
        if !row.doubtful {
            return written;
        }
        Written { idempotent: true, account: row.account.clone(), ..written }
    }
}
