//! When the next messages of a batch may be claimed: tokens where the account has a throttle, and
//! permits in turn.

use std::time::Instant;

use carillon_contracts::{events::v1::Halt, vocabulary::WaitReason};
use sea_orm::DbErr;

use crate::{
    gateway::Gateway,
    open::Header,
    permits::{MICRO_BATCH, Permit},
    send::Calls,
    start::Dispatcher,
    store,
    throttle::{self, LEAD, Lease, Tokens},
};

/// Nothing tells a waiting batch that its organisation's switch is on again.
const LOOK_AGAIN_MS: i64 = 10_000;

pub(crate) enum Pace {
    Go {
        permits: Vec<Permit>,
        tokens: Option<Tokens>,
    },
    /// The organisation is paused, or the next token is too far away to be waited for in hand.
    Wait {
        reason: WaitReason,
        until_ms: i64,
    },
    /// Nothing of the campaign is sent now: what is claimed is only told so, and takes no token.
    Halted,
    /// No turn came in time.
    Late,
}

impl<G: Gateway> Dispatcher<G> {
    /// Waits for up to `most` messages' worth, one's at least, until `latest`.
    pub(crate) async fn pace(
        &self,
        calls: &Calls<G>,
        most: usize,
        latest: Instant,
    ) -> Result<Pace, DbErr> {
        let within = latest.saturating_duration_since(Instant::now());
        if within.is_zero() {
            return Ok(Pace::Late);
        }
        if calls.account.paused {
            let until_ms = self.store.clock.now_ms() + LOOK_AGAIN_MS;
            return Ok(Pace::Wait { reason: WaitReason::Paused, until_ms });
        }
        if calls.account.throttle.is_some() && self.is_halted(&calls.header).await? {
            return Ok(Pace::Halted);
        }
        let mut most = most.min(MICRO_BATCH);
        let mut tokens = None;
        let organisation = calls.header.organisation;
        match throttle::lease(&self.store, organisation, &calls.account, most, within).await? {
            Some(Lease::Later { at_ms }) => {
                return Ok(Pace::Wait { reason: WaitReason::Throttled, until_ms: at_ms });
            }
            Some(Lease::Tokens(leased)) => {
                let ready = leased.from(0).checked_sub(LEAD).unwrap_or(leased.from(0));
                tokio::time::sleep_until(ready.into()).await;
                most = leased.count;
                tokens = Some(leased);
            }
            None => {}
        }
        let taking = self.permits.take(&calls.turn, most, calls.account.connections);
        Ok(match tokio::time::timeout_at(latest.into(), taking).await {
            Ok(permits) => Pace::Go { permits, tokens },
            Err(_) => Pace::Late,
        })
    }

    /// The organisation, or the campaign, is switched off.
    pub(crate) async fn stands_still(&self, calls: &Calls<G>) -> Result<bool, DbErr> {
        Ok(calls.account.paused || self.is_halted(&calls.header).await?)
    }

    async fn is_halted(&self, header: &Header) -> Result<bool, DbErr> {
        let halt = store::halt(self.store.database.reader(), header.campaign).await?;
        Ok(matches!(halt, Halt::Paused | Halt::Cancelled))
    }
}
