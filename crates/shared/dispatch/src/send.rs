//! One call for one claimed message, and what is recorded of it.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_contracts::vocabulary::{ChannelWord as _, MessageState, WaitReason};
use carillon_service_kit::{Clock, faults, metrics::GATEWAY_SECONDS};
use futures::FutureExt as _;
use rand::RngExt as _;
use tokio::sync::SemaphorePermit;

use crate::{
    clearance::{About, Boottime, Clearance, Watch},
    committer::{Committer, Unrecorded},
    domain::{addressee::Addressee, backoff, outcome::Outcome},
    gateway::{Account, Gateway, Outgoing},
    open::{Header, Opened},
    part_counts::PartCounts,
    permits::{Permit, Turn},
    store::{Answer, ClaimId, Claimed, Recorded},
    throttle::{Token, Tokens},
};

/// What every call of a batch shares.
pub(crate) struct Calls<G: Gateway> {
    pub gateway: Arc<G>,
    pub header: Arc<Header>,
    pub opened: Arc<Opened<G::Prepared>>,
    pub account: Arc<Account>,
    /// Only what is in doubt at this account is sent.
    pub in_doubt: bool,
    /// As the account has them.
    pub addressees: Arc<Vec<Addressee>>,
    pub turn: Turn,
    pub committer: Committer,
    pub watch: Arc<Watch>,
    pub part_counts: PartCounts,
    pub clock: Clock,
}

impl<G: Gateway> Clone for Calls<G> {
    fn clone(&self) -> Self {
        Self {
            gateway: Arc::clone(&self.gateway),
            header: Arc::clone(&self.header),
            opened: Arc::clone(&self.opened),
            account: Arc::clone(&self.account),
            in_doubt: self.in_doubt,
            addressees: Arc::clone(&self.addressees),
            turn: self.turn.clone(),
            committer: self.committer.clone(),
            watch: Arc::clone(&self.watch),
            part_counts: self.part_counts.clone(),
            clock: self.clock.clone(),
        }
    }
}

/// Whose turn it is that the batch waits for.
pub(crate) fn turn(header: &Header, account: &Account) -> Turn {
    Turn {
        channel: header.channel,
        organisation: header.organisation,
        account: account.name.as_str().into(),
    }
}

impl<G: Gateway> Calls<G> {
    /// A setting holds for the next claim, also of a batch that takes long. Answers whether the
    /// account that only may send is still there.
    pub(crate) async fn follow_settings(&mut self) -> bool {
        let organisation = self.header.organisation;
        let account = match self.in_doubt {
            true => self.gateway.account_named(organisation, &self.account.name).await,
            false => Some(self.gateway.account(organisation).await),
        };
        let Some(account) = account else { return false };
        if *self.account != account {
            self.turn = turn(&self.header, &account);
            self.addressees = Arc::new(self.opened.addressees(&account));
            self.account = Arc::new(account);
        }
        true
    }

    /// The same batch, of which only what is in doubt at this account is sent.
    pub(crate) fn in_doubt_at(self, name: &str) -> Self {
        let account = Account::unlimited(name);
        let turn = turn(&self.header, &account);
        Self { account: Arc::new(account), turn, in_doubt: true, ..self }
    }

    /// Calls each claimed message at once, or when its token says; each is recorded when its call
    /// ends.
    pub(crate) fn begin(
        &self,
        answer: Answer,
        claimed_at: Boottime,
        permits: Vec<Permit>,
        mut tokens: Option<Tokens>,
        unrecorded: &Unrecorded,
    ) {
        let claim = answer.claim;
        for (claimed, permit) in answer.claimed.into_iter().zip(permits) {
            let Claimed { position, attempt, parts } = claimed;
            let token = tokens.as_mut().and_then(Tokens::next);
            let (calls, unrecorded) = (self.clone(), unrecorded.clone());
            let clearance = self.watch.take(About {
                organisation: self.header.organisation,
                campaign: self.header.campaign,
                customer: self.header.customers[position],
                require_consent: self.account.require_consent,
                deadline: self.header.deadline,
                claim,
                claimed_at,
                token,
            });
            tokio::spawn(async move {
                let outcome = match calls.turn_of(token, &permit, &clearance).await {
                    Some(_slot) => calls.call_measured(position, attempt, clearance, &permit).await,
                    None => Outcome::NotBegun,
                };
                let (organisation, message) =
                    (calls.header.organisation, calls.header.message(position));
                calls.part_counts.compare(organisation, message, parts, &outcome);
                let recorded = calls.record_of(claim, position, attempt, outcome);
                let key = (calls.header.run_day, calls.header.batch);
                calls.committer.record(key, recorded, permit, unrecorded);
            });
        }
    }

    /// Waits for the token's time and for a free connection, as long as there is any point.
    async fn turn_of<'a>(
        &self,
        token: Option<Token>,
        permit: &'a Permit,
        clearance: &Clearance,
    ) -> Option<SemaphorePermit<'a>> {
        let waiting = async {
            if let Some(token) = token {
                tokio::time::sleep_until(token.from.into()).await;
            }
            permit.slot().await
        };
        tokio::select! {
            biased;
            slot = waiting => slot,
            () = clearance.broken_off(|| false) => None,
        }
    }

    async fn call_measured(
        &self,
        position: usize,
        attempt: u32,
        clearance: Clearance,
        permit: &Permit,
    ) -> Outcome {
        let begun = Instant::now();
        let call = AssertUnwindSafe(self.call(position, attempt, clearance));
        let outcome = call.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(message_id = %self.header.message(position), "a call panicked");
            Outcome::InDoubt { code: "panicked".into() }
        });
        if outcome != Outcome::NotBegun {
            permit.observe(begun.elapsed());
            self.measure(&outcome, begun.elapsed());
        }
        outcome
    }

    fn measure(&self, outcome: &Outcome, took: Duration) {
        let labels = [("channel", self.header.channel.word()), ("outcome", outcome.word())];
        metrics::histogram!(GATEWAY_SECONDS, &labels).record(took);
    }

    async fn call(&self, position: usize, attempt: u32, clearance: Clearance) -> Outcome {
        if !clearance.may_begin() {
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
            account: &self.account.name,
            in_doubt: self.in_doubt,
            recipient: self.opened.recipient(position),
            deadline: self.header.deadline,
            attempt,
            clearance,
        };
        faults::point("dispatch.call");
        let outcome = self.gateway.send(prepared, outgoing).await;
        faults::point("dispatch.called");
        outcome
    }

    fn record_of(
        &self,
        claim: ClaimId,
        position: usize,
        attempt: u32,
        outcome: Outcome,
    ) -> Recorded {
        let mut recorded = Recorded {
            message: self.header.message(position),
            claim,
            keep_attempt: attempt,
            state: MessageState::Sent,
            reason: "",
            next_attempt_ms: None,
            provider_id: String::new(),
            provider_code: String::new(),
            provider_parts: None,
        };
        match outcome {
            Outcome::Sent { provider_id, parts } => {
                recorded.provider_id = provider_id;
                recorded.provider_parts = parts;
            }
            Outcome::Permanent { reason, code } => {
                recorded.state = MessageState::Failed;
                recorded.reason = reason;
                recorded.provider_code = code;
            }
            Outcome::InDoubt { code } => {
                recorded.state = MessageState::Unknown;
                recorded.reason = "in_doubt";
                recorded.provider_code = code;
                recorded.next_attempt_ms = self.next_attempt(attempt, None);
            }
            Outcome::NotBegun => {
                recorded.state = MessageState::Queued;
                recorded.reason = WaitReason::Backlog.word();
                recorded.keep_attempt = attempt - 1;
                recorded.next_attempt_ms = Some(self.clock.now_ms());
            }
            Outcome::Transient { code, retry_after } => {
                recorded.provider_code = code;
                recorded.next_attempt_ms = self.next_attempt(attempt, retry_after);
                (recorded.state, recorded.reason) = match recorded.next_attempt_ms {
                    Some(_) => (MessageState::Queued, WaitReason::Retrying.word()),
                    None => (MessageState::Expired, "deadline_before_retry"),
                };
            }
        }
        recorded
    }

    /// `None` where it would be too late.
    fn next_attempt(&self, attempt: u32, retry_after: Option<Duration>) -> Option<i64> {
        let wait = backoff::wait(attempt, retry_after, rand::rng().random());
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let next = self.clock.now_ms().saturating_add(wait);
        (next < self.header.deadline.as_millisecond()).then_some(next)
    }
}
