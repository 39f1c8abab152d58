//! How fast an account's messages may leave, over all replicas. Tokens are leased in one statement
//! before the claim, and shared by all of this process's claims for the account; each has a moment
//! from which it holds, and a short while after which it is lost.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use carillon_contracts::ids::OrganisationId;
use sea_orm::DbErr;

use crate::{
    gateway::{Account, InSeries, Throttle},
    store::{self, Leased, Store},
};

/// How long a token holds.
const HOLDS: Duration = Duration::from_millis(250);
/// A gap between two mails is kept from the later end of a token to the next one's beginning, so
/// tokens of a series hold no longer than a tenth of the gap: at least and at most this.
const SERIES_HOLDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Work that is claimed at a time.
const AHEAD: Duration = Duration::from_millis(250);
/// A token begins no sooner than this after it was leased: its holder must get a turn and commit a
/// claim first.
pub(crate) const LEAD: Duration = Duration::from_millis(300);
/// One that is lost sooner than this is of no use to a claim that begins now.
const CLAIMED_WITHIN: Duration = Duration::from_millis(50);
/// A token further away than this is not waited for in hand.
const TOO_FAR: Duration = Duration::from_secs(5);
/// Accounts whose tokens are kept apart before those that nobody uses are forgotten.
const MANY: usize = 1_000;

/// A throttle in the words of its row: milliseconds between tokens, how long each holds, and after
/// how many there is a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// From one token to the one that comes `per` later.
    pub spacing_ms: i64,
    pub per: i64,
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
                let per = i64::from(per_second.max(1));
                let most = (per * ms(AHEAD) / 1_000).max(1);
                let (spacing_ms, holds_ms) = (1_000, ms(HOLDS));
                Self { spacing_ms, per, holds_ms, series: 0, pause_ms: 0, most }
            }
            Throttle::Series { mails, pause, gap } => {
                // A mail may have to make its connection first, and loses its token if that takes
                // longer.
                let between = gap.max(pause / mails.max(1));
                let holds_ms = ms((between / 10).clamp(SERIES_HOLDS.0, SERIES_HOLDS.1));
                // Without a gap only the pauses count, and mails of a series may go at once.
                let spacing_ms = if gap.is_zero() { 0 } else { ms(gap) + holds_ms };
                let ahead = if spacing_ms == 0 { 64 } else { (ms(AHEAD) / spacing_ms).max(1) };
                let series = i64::from(mails);
                let most = if series == 0 { ahead } else { ahead.min(series) };
                Self { spacing_ms, per: 1, holds_ms, series, pause_ms: ms(pause), most }
            }
        }
    }

    /// From the first token of a lease to another.
    pub(crate) fn after(&self, index: i64) -> Duration {
        let micros = 1_000 * self.spacing_ms * index / self.per;
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }
}

/// Leave for one call to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub from: Instant,
    /// By when the call must have begun.
    pub until: Instant,
    pub series: Option<InSeries>,
}

/// One account's tokens in this process.
struct Held {
    shape: Shape,
    /// Leased and in nobody's hand, the soonest first.
    free: Mutex<VecDeque<Token>>,
    /// One leases at a time, and those who wait are served by it.
    leasing: tokio::sync::Mutex<()>,
    /// What all who ask now would take.
    wanted: AtomicUsize,
}

/// Tokens in hand. What is left of them when this goes serves the account's next claim.
pub(crate) struct Tokens {
    held: Arc<Held>,
    tokens: VecDeque<Token>,
}

impl Tokens {
    pub(crate) fn count(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn first(&self) -> Option<&Token> {
        self.tokens.front()
    }

    /// The soonest, to be used.
    pub(crate) fn next(&mut self) -> Option<Token> {
        self.tokens.pop_front()
    }

    /// Gives back those beyond the first `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        let rest = self.tokens.split_off(count.min(self.tokens.len()));
        self.held.put_back(rest);
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.held.put_back(std::mem::take(&mut self.tokens));
    }
}

pub(crate) enum Lease {
    Tokens(Tokens),
    /// The next token is too far away to be waited for.
    Later {
        at_ms: i64,
    },
}

impl Held {
    fn new(shape: Shape) -> Self {
        let (free, leasing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { shape, free, leasing, wanted: AtomicUsize::new(0) }
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<Token>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, tokens: VecDeque<Token>) {
        if tokens.is_empty() {
            return;
        }
        let mut free = self.free();
        free.extend(tokens);
        free.make_contiguous().sort_by_key(|token| token.from);
    }

    /// Up to `wanted` of those that were leased before and still hold.
    fn take(self: &Arc<Self>, wanted: usize, now: Instant) -> Option<Tokens> {
        let mut free = self.free();
        free.retain(|token| token.until > now + CLAIMED_WITHIN);
        let count = wanted.min(free.len());
        let tokens: VecDeque<Token> = free.drain(..count).collect();
        drop(free);
        (count > 0).then(|| Tokens { held: Arc::clone(self), tokens })
    }

    /// The tokens of a lease that was asked for at `asked_at`.
    fn keep(&self, leased: &Leased, asked_at: Instant, asked_ms: i64) {
        let length = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        let first = asked_at + length(leased.from_ms - asked_ms);
        let token = |index: i64| {
            let from = first + self.shape.after(index);
            let left = leased.left + leased.count - 1 - index;
            let place = InSeries { number: leased.number, left };
            let series = (self.shape.series > 0).then_some(place);
            Token { from, until: from + length(self.shape.holds_ms), series }
        };
        self.put_back((0..leased.count).map(token).collect());
    }
}

/// Somebody who asks for tokens.
struct Asking<'a>(&'a Held, usize);

impl<'a> Asking<'a> {
    fn new(held: &'a Held, wanted: usize) -> Self {
        held.wanted.fetch_add(wanted, Ordering::Relaxed);
        Self(held, wanted)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(self.1, Ordering::Relaxed);
    }
}

type ByAccount = HashMap<(OrganisationId, String), Arc<Held>>;

/// The tokens of every account that this process sends through.
#[derive(Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<ByAccount>>);

impl Leases {
    fn of(&self, organisation: OrganisationId, account: &str, shape: Shape) -> Arc<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > MANY {
            all.retain(|_, held| Arc::strong_count(held) > 1 || !held.free().is_empty());
        }
        let held = all
            .entry((organisation, account.to_owned()))
            .or_insert_with(|| Arc::new(Held::new(shape)));
        // Tokens of another shape are lost.
        if held.shape != shape {
            *held = Arc::new(Held::new(shape));
        }
        Arc::clone(held)
    }

    /// Up to `wanted` tokens, one at least, the first of them `within` this time: those left over,
    /// or leased for all who ask at once. Without a throttle there is nothing to take.
    pub(crate) async fn take(
        &self,
        store: &Store,
        organisation: OrganisationId,
        account: &Account,
        wanted: usize,
        within: Duration,
    ) -> Result<Option<Lease>, DbErr> {
        let Some(throttle) = account.throttle else { return Ok(None) };
        let held = self.of(organisation, &account.name, Shape::of(throttle));
        let wanted = wanted.max(1);
        let _asking = Asking::new(&held, wanted);
        let _turn = held.leasing.lock().await;
        if let Some(tokens) = held.take(wanted, Instant::now()) {
            return Ok(Some(Lease::Tokens(tokens)));
        }
        let all = i64::try_from(held.wanted.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let all = all.clamp(1, held.shape.most);
        let (asked_at, now_ms) = (Instant::now(), store.clock.now_ms());
        let window = (now_ms + ms(LEAD), now_ms + ms(within.min(TOO_FAR)));
        let account = (organisation, account.name.as_str());
        let leased =
            store::lease(store.database.writer(), account, held.shape, all, window).await?;
        held.keep(&leased, asked_at, now_ms);
        Ok(Some(match held.take(wanted, Instant::now()) {
            Some(tokens) => Lease::Tokens(tokens),
            None => Lease::Later { at_ms: leased.from_ms },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn held() -> Arc<Held> {
        Arc::new(Held::new(Shape::of(Throttle::Rate { per_second: 100 })))
    }

    fn leased(count: i64) -> Leased {
        Leased { from_ms: 1_300, count, number: 0, left: 0 }
    }

    #[test]
    fn what_one_claim_leaves_serves_the_next_and_is_lost_after_its_time() {
        let (held, now) = (held(), Instant::now());
        held.keep(&leased(5), now, 1_000);
        let mut first = held.take(3, now).expect("three");
        let used = first.next().expect("one");
        assert_eq!((used.from, used.until), (now + 300 * MS, now + 550 * MS));
        first.keep(1);
        let others = held.take(64, now).expect("the rest");
        assert_eq!(others.count(), 3, "one that was given back, and two that were never taken");
        drop((first, others));
        let later = held.take(64, now + 515 * MS).expect("those that still hold");
        assert_eq!(later.count(), 3, "the soonest is lost, and one was used");
        assert!(held.take(1, now).is_none(), "all are in hand");
        drop(later);
        assert!(held.take(1, now + 600 * MS).is_none(), "and lost in the end");
    }

    #[test]
    fn tokens_of_a_series_say_how_many_are_left_of_it() {
        let (pause, gap) = (Duration::from_secs(2), Duration::ZERO);
        let shape = Shape::of(Throttle::Series { mails: 5, pause, gap });
        let (held, now) = (Arc::new(Held::new(shape)), Instant::now());
        held.keep(&Leased { number: 7, left: 2, ..leased(3) }, now, 1_000);
        let mut tokens = held.take(3, now).expect("three");
        let places = std::iter::from_fn(|| tokens.next()?.series);
        let places: Vec<_> = places.map(|place| (place.number, place.left)).collect();
        assert_eq!(places, [(7, 4), (7, 3), (7, 2)]);
    }

    #[test]
    fn a_token_of_a_series_holds_for_a_tenth_of_the_time_between_two() {
        let shape = |mails, pause, gap| {
            let (pause, gap) = (Duration::from_secs(pause), Duration::from_secs(gap));
            Shape::of(Throttle::Series { mails, pause, gap })
        };
        assert_eq!(shape(0, 0, 60).holds_ms, 6_000);
        assert_eq!(shape(1, 60, 0).holds_ms, 6_000);
        assert_eq!((shape(100, 60, 0).holds_ms, shape(0, 0, 3_600).holds_ms), (100, 10_000));
    }
}
