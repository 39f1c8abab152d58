//! The port behind which a way of sending stands.

use std::time::Duration;

use async_trait::async_trait;
use carillon_contracts::{
    ids::{MessageId, OrganisationId},
    jobs::v1::{Channel, Content},
};
use carillon_numbering::Markets;
use jiff::Timestamp;

use crate::{Clearance, Outcome, Recipient};

/// A message at the moment of its call.
pub struct Outgoing<'a> {
    pub organisation: OrganisationId,
    pub message: MessageId,
    pub run_day: i32,
    /// The name of the account that the claim was made for.
    pub account: &'a str,
    /// The claim was made for what is in doubt at this very account, which no other may send.
    pub in_doubt: bool,
    pub recipient: Recipient<'a>,
    pub deadline: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
    pub clearance: Clearance,
}

/// What an organisation's messages leave through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Tells apart the accounts of one organisation; limits are kept under it.
    pub name: String,
    pub throttle: Option<Throttle>,
    /// Calls of this process at a time.
    pub connections: usize,
    /// Messages of one claim, at most; 1 at least.
    pub at_once: usize,
    /// The provider takes the same message id once only, so a call may be repeated.
    pub idempotent: bool,
    /// The organisation has switched everything off.
    pub paused: bool,
    /// Only customers who gave consent receive.
    pub require_consent: bool,
    /// Where SMS may go; all of them for every other channel.
    pub markets: Markets,
}

impl Account {
    /// No limits of its own.
    pub fn unlimited(name: &str) -> Self {
        Self {
            name: name.into(),
            throttle: None,
            connections: usize::MAX,
            at_once: usize::MAX,
            idempotent: false,
            paused: false,
            require_consent: false,
            markets: Markets::default(),
        }
    }
}

/// How fast messages may leave, over all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    Rate {
        per_second: u32,
    },
    /// After `mails` (0: never) wait for `pause`; between two wait for `gap`.
    Series {
        mails: u32,
        pause: Duration,
        gap: Duration,
    },
}

/// Where a message stands in a series of its account's throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSeries {
    /// Tells the account's series apart.
    pub number: i64,
    /// How many may follow it before the pause.
    pub left: i64,
}

#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Content compiled once a batch.
    type Prepared: Send + Sync + 'static;

    fn channel(&self) -> Channel;

    /// What the organisation's messages leave through now.
    async fn account(&self, organisation: OrganisationId) -> Account;

    /// The account of this name, as long as the organisation has it: what is in doubt there may be
    /// sent by no other.
    async fn account_named(&self, organisation: OrganisationId, name: &str) -> Option<Account> {
        Some(self.account(organisation).await).filter(|account| account.name == name)
    }

    /// An error is the content's own fault and fails every message of the batch.
    fn prepare(&self, content: &Content) -> Result<Self::Prepared, String>;

    /// How many parts the message has; each costs the recipient's rate in units. 0: it is never
    /// sent, or sent nowhere.
    fn parts(&self, prepared: &Self::Prepared, recipient: Recipient<'_>) -> u32;

    /// One call. Whoever implements it says what became of it, and never calls twice.
    async fn send(&self, prepared: &Self::Prepared, outgoing: Outgoing<'_>) -> Outcome;
}
