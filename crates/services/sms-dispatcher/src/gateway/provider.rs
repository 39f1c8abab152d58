//! What each way of sending an SMS implements.

use std::time::Duration;

use async_trait::async_trait;
use carillon_content::sms::SmsCount;
use carillon_dispatch::{Outcome, Outgoing};
use carillon_service_kit::Clock;

use super::{verdict::misconfigured, wire::Failure};
use crate::receipts::Receipts;

/// A text that is ready to leave.
pub(crate) struct Sms<'a> {
    pub outgoing: &'a Outgoing<'a>,
    pub text: &'a str,
    pub count: SmsCount,
    pub clock: &'a Clock,
    /// Where the provider's receipts may go.
    pub receipts: &'a Receipts,
}

impl Sms<'_> {
    /// Whole seconds up to the deadline, 1 at least.
    pub(crate) fn validity_seconds(&self) -> u64 {
        let left = self.outgoing.deadline.duration_since(self.clock.now());
        u64::try_from(left.as_secs()).unwrap_or(0).max(1)
    }
}

#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// Tells it apart from the organisation's other ones: what was in doubt at one is not repeated
    /// at another.
    fn name(&self) -> &str;

    /// Calls of this process at a time.
    fn connections(&self) -> usize {
        usize::MAX
    }

    /// It takes the same message id once only.
    fn is_idempotent(&self) -> bool {
        false
    }

    /// One call, and what became of it.
    async fn send(&self, sms: &Sms<'_>) -> Outcome;

    /// Called every so often: closes what is unused.
    fn tidy(&self) {}

    /// Called every so often while receipts are awaited: keeps open what they come through.
    fn hold(&self) {}
}

/// Stands where nothing can be sent, and says why.
pub(crate) struct Refuses {
    pub name: &'static str,
    pub outcome: Outcome,
}

#[async_trait]
impl Provider for Refuses {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn send(&self, _: &Sms<'_>) -> Outcome {
        self.outcome.clone()
    }
}

/// What a call without an answer comes to.
pub(crate) fn unanswered(failure: Failure) -> Outcome {
    match failure {
        Failure::NotBegun => Outcome::NotBegun,
        Failure::Unsent(code @ ("address_refused" | "tls_failed")) => misconfigured(code),
        Failure::Unsent(code) => Outcome::Transient { code: code.into(), retry_after: None },
        Failure::InDoubt(code) => Outcome::InDoubt { code: code.into() },
    }
}

/// How long to leave a gateway alone whose settings are wrong: nobody mends them sooner.
pub(crate) const MENDING: Duration = Duration::from_secs(60);
