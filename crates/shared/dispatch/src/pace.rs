//! When the next messages of a batch may be claimed: tokens where the account has a throttle, and
//! permits in turn.

use std::time::Instant;

use carillon_contracts::{events::v1::Halt, vocabulary::WaitReason};
use carillon_service_kit::Stop;
use sea_orm::DbErr;

use crate::{
    gateway::Gateway,
    open::Header,
    permits::{MICRO_BATCH, Permit},
    send::Calls,
    start::Dispatcher,
    store,
    throttle::{LEAD, Lease, Tokens},
};

/// Nothing tells a waiting batch that its organisation's switch is on again.
const LOOK_AGAIN_MS: i64 = 2_000;

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
    /// Nothing of it is sent now: what is claimed is only told so, and takes no token.
    Nothing,
    /// No turn came in time, or a stop did.
    Late,
}

impl<G: Gateway> Dispatcher<G> {
    /// Waits for up to `most` messages' worth, one's at least, until `latest`.
    pub(crate) async fn pace(
        &self,
        calls: &Calls<G>,
        most: usize,
        latest: Instant,
        stop: &Stop,
    ) -> Result<Pace, DbErr> {
        tokio::select! {
            biased;
            () = stop.requested() => Ok(Pace::Late),
            pace = self.turn(calls, most, latest) => pace,
        }
    }

    async fn turn(&self, calls: &Calls<G>, most: usize, latest: Instant) -> Result<Pace, DbErr> {
        let within = latest.saturating_duration_since(Instant::now());
        if within.is_zero() {
            return Ok(Pace::Late);
        }
        if most == 0 {
            return Ok(Pace::Nothing);
        }
        if calls.account.paused {
            let until_ms = self.store.clock.now_ms() + LOOK_AGAIN_MS;
            return Ok(Pace::Wait { reason: WaitReason::Paused, until_ms });
        }
        if calls.account.throttle.is_some() && self.is_halted(&calls.header).await? {
            return Ok(Pace::Nothing);
        }
        let mut most = most.min(MICRO_BATCH).min(calls.account.at_once);
        let mut tokens = None;
        let organisation = calls.header.organisation;
        match self.leases.take(&self.store, organisation, &calls.account, most, within).await? {
            Some(Lease::Later { at_ms }) => {
                return Ok(Pace::Wait { reason: WaitReason::Throttled, until_ms: at_ms });
            }
            Some(Lease::Tokens(leased)) => {
                if let Some(ready) = leased.first().and_then(|token| token.from.checked_sub(LEAD)) {
                    tokio::time::sleep_until(ready.into()).await;
                }
                most = leased.count();
                tokens = Some(leased);
            }
            None => {}
        }
        let taking = self.permits.take(&calls.turn, most, calls.account.connections);
        Ok(match tokio::time::timeout_at(latest.into(), taking).await {
            Ok(permits) => {
                if let Some(tokens) = &mut tokens {
                    tokens.keep(permits.len());
                }
                Pace::Go { permits, tokens }
            }
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
