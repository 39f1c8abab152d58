//! When the next messages of a batch may be claimed: tokens where the account has a throttle, and
//! permits in turn.

use std::time::Instant;

use sea_orm::DbErr;

use crate::{
    gateway::Gateway,
    permits::{MICRO_BATCH, Permit},
    send::Calls,
    start::Dispatcher,
    throttle::{self, LEAD, Lease, Tokens},
};

pub(crate) enum Pace {
    Go {
        permits: Vec<Permit>,
        tokens: Option<Tokens>,
    },
    /// The next token is too far away to be waited for in hand.
    Throttled {
        until_ms: i64,
    },
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
        let mut most = most.min(MICRO_BATCH);
        let mut tokens = None;
        let organisation = calls.header.organisation;
        match throttle::lease(&self.store, organisation, &calls.account, most).await? {
            Some(Lease::Later { at_ms }) => return Ok(Pace::Throttled { until_ms: at_ms }),
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
}
