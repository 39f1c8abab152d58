//! One call for one claimed message, and what is recorded of it.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_contracts::vocabulary::{MessageState, WaitReason};
use carillon_service_kit::Clock;
use futures::FutureExt as _;
use rand::RngExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    committer::{Committer, Unrecorded},
    domain::{backoff, outcome::Outcome},
    gateway::{Clearance, Gateway, Outgoing},
    open::{Header, Opened},
    store::{Answer, Recorded},
};

/// A claim older than this must be cleared again before a call.
const CLAIM_FRESH: Duration = Duration::from_secs(1);

/// What every call of a batch shares.
pub(crate) struct Calls<G: Gateway> {
    pub gateway: Arc<G>,
    pub header: Arc<Header>,
    pub opened: Arc<Opened<G::Prepared>>,
    pub committer: Committer,
    pub clock: Clock,
}

impl<G: Gateway> Clone for Calls<G> {
    fn clone(&self) -> Self {
        Self {
            gateway: Arc::clone(&self.gateway),
            header: Arc::clone(&self.header),
            opened: Arc::clone(&self.opened),
            committer: self.committer.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<G: Gateway> Calls<G> {
    /// Calls each claimed message at once; each is recorded when its call ends.
    pub(crate) fn begin(
        &self,
        answer: Answer,
        claimed_at: Instant,
        permits: Vec<OwnedSemaphorePermit>,
        unrecorded: &Unrecorded,
    ) {
        let claim = answer.claim;
        for ((position, attempt), permit) in answer.claimed.into_iter().zip(permits) {
            let (calls, unrecorded) = (self.clone(), unrecorded.clone());
            tokio::spawn(async move {
                let call = AssertUnwindSafe(calls.call(position, attempt, claimed_at));
                let outcome = call.catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!(message = %calls.header.message(position), "a call panicked");
                    Outcome::InDoubt { code: "panicked".into() }
                });
                let recorded = calls.record_of(claim, position, attempt, outcome);
                let key = (calls.header.run_day, calls.header.batch);
                calls.committer.record(key, recorded, permit, unrecorded);
            });
        }
    }

    async fn call(&self, position: usize, attempt: u32, claimed_at: Instant) -> Outcome {
        let stale = claimed_at.elapsed() >= CLAIM_FRESH;
        if stale || self.clock.now() >= self.header.deadline {
            return Outcome::NotBegun;
        }
        let prepared = match &self.opened.prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                return Outcome::Permanent { reason: "content_invalid", code: error.clone() };
            }
        };
        let outgoing = Outgoing {
            organisation: self.header.organisation,
            message: self.header.message(position),
            run_day: self.header.run_day,
            recipient: self.opened.recipient(position),
            deadline: self.header.deadline,
            attempt,
            clearance: Clearance { until: claimed_at + CLAIM_FRESH },
        };
        self.gateway.send(prepared, outgoing).await
    }

    fn record_of(&self, claim: i64, position: usize, attempt: u32, outcome: Outcome) -> Recorded {
        let now_ms = self.clock.now_ms();
        let mut recorded = Recorded {
            message: self.header.message(position),
            claim,
            keep_attempt: attempt,
            state: MessageState::Sent,
            reason: "",
            next_attempt_ms: None,
            provider_id: String::new(),
            provider_code: String::new(),
        };
        match outcome {
            Outcome::Sent { provider_id } => recorded.provider_id = provider_id,
            Outcome::Permanent { reason, code } => {
                recorded.state = MessageState::Failed;
                recorded.reason = reason;
                recorded.provider_code = code;
            }
            Outcome::InDoubt { code } => {
                recorded.state = MessageState::Unknown;
                recorded.reason = "in_doubt";
                recorded.provider_code = code;
            }
            Outcome::NotBegun => {
                recorded.state = MessageState::Queued;
                recorded.reason = WaitReason::Backlog.word();
                recorded.keep_attempt = attempt - 1;
                recorded.next_attempt_ms = Some(now_ms);
            }
            Outcome::Transient { code, retry_after } => {
                recorded.provider_code = code;
                let wait = backoff::wait(attempt, retry_after, rand::rng().random());
                let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                let next = now_ms.saturating_add(wait);
                if next >= self.header.deadline.as_millisecond() {
                    recorded.state = MessageState::Expired;
                    recorded.reason = "deadline_before_retry";
                } else {
                    recorded.state = MessageState::Queued;
                    recorded.reason = WaitReason::Retrying.word();
                    recorded.next_attempt_ms = Some(next);
                }
            }
        }
        recorded
    }
}
