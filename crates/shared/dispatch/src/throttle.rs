//! How fast an account's messages may leave, over all replicas. Tokens are leased in one statement
//! before the claim; each has a moment from which it holds, and a short while after which it is lost.

use std::time::{Duration, Instant};

use carillon_contracts::ids::OrganisationId;
use sea_orm::DbErr;

use crate::{
    gateway::{Account, Throttle},
    store::{self, Store},
};

/// How long a token holds.
const HOLDS: Duration = Duration::from_millis(250);
/// A gap between two mails is kept from the later end of a token to the next one's beginning.
const SERIES_HOLDS: Duration = Duration::from_millis(100);
/// Work that is claimed at a time.
const AHEAD: Duration = Duration::from_millis(250);
/// A token begins no sooner than this after it was leased: its holder must get a turn and commit a
/// claim first.
pub(crate) const LEAD: Duration = Duration::from_millis(300);
/// A token further away than this is not waited for in hand.
const TOO_FAR: Duration = Duration::from_secs(5);

/// Tokens in hand: the first holds from `from`, each later one `spacing` after the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    pub count: usize,
    from: Instant,
    spacing: Duration,
    holds: Duration,
}

impl Tokens {
    pub(crate) fn from(&self, index: usize) -> Instant {
        self.from + self.spacing * u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Until when the call must have begun.
    pub(crate) fn until(&self, index: usize) -> Instant {
        self.from(index) + self.holds
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Lease {
    Tokens(Tokens),
    /// The next token is too far away to be waited for.
    Later {
        at_ms: i64,
    },
}

/// A throttle in the words of its row: milliseconds between tokens, how long each holds, and after
/// how many there is a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub spacing_ms: i64,
    pub holds_ms: i64,
    /// 0: never.
    pub series: i64,
    pub pause_ms: i64,
    /// Tokens leased at a time, at most.
    pub most: i64,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Shape {
    pub(crate) fn of(throttle: Throttle) -> Self {
        match throttle {
            Throttle::Rate { per_second } => {
                let spacing_ms = i64::from(1_000_u32.div_ceil(per_second.max(1)));
                let most = i64::from(per_second) * ms(AHEAD) / 1_000;
                Self { spacing_ms, holds_ms: ms(HOLDS), series: 0, pause_ms: 0, most: most.max(1) }
            }
            Throttle::Series { mails, pause, gap } => {
                let holds_ms = ms(SERIES_HOLDS);
                // Without a gap only the pauses count, and mails of a series may go at once.
                let spacing_ms = if gap.is_zero() { 0 } else { ms(gap) + holds_ms };
                let ahead = if spacing_ms == 0 { 64 } else { (ms(AHEAD) / spacing_ms).max(1) };
                let series = i64::from(mails);
                let most = if series == 0 { ahead } else { ahead.min(series) };
                Self { spacing_ms, holds_ms, series, pause_ms: ms(pause), most }
            }
        }
    }
}

/// Leases up to `wanted` tokens, one at least, the first of them `within` this time; without a
/// throttle there is nothing to lease.
pub(crate) async fn lease(
    store: &Store,
    organisation: OrganisationId,
    account: &Account,
    wanted: usize,
    within: Duration,
) -> Result<Option<Lease>, DbErr> {
    let Some(throttle) = account.throttle else { return Ok(None) };
    let shape = Shape::of(throttle);
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).clamp(1, shape.most);
    let (asked_at, now_ms) = (Instant::now(), store.clock.now_ms());
    let window = (now_ms + ms(LEAD), now_ms + ms(within.min(TOO_FAR)));
    let leased = store::lease(store, organisation, &account.name, shape, wanted, window).await?;
    Ok(Some(match leased {
        store::Leased::Later { at_ms } => Lease::Later { at_ms },
        store::Leased::Tokens { from_ms, count } => {
            let wait = u64::try_from(from_ms - now_ms).unwrap_or_default();
            Lease::Tokens(Tokens {
                count: usize::try_from(count).unwrap_or(1),
                from: asked_at + Duration::from_millis(wait),
                spacing: Duration::from_millis(shape.spacing_ms.unsigned_abs()),
                holds: Duration::from_millis(shape.holds_ms.unsigned_abs()),
            })
        }
    }))
}
