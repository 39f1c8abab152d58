//! How many messages a process may have in `sending`: what one kill can leave `unknown`. Permits go
//! round by organisation and account, so that one's volume or slowness does not delay another's.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use carillon_contracts::{ids::OrganisationId, jobs::v1::Channel};
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    time::timeout,
};

/// W: the messages of one micro-batch, at most.
pub const MICRO_BATCH: usize = 64;
const ALL: usize = 2 * MICRO_BATCH;
/// What accounts whose calls are slow have together.
const FOR_SLOW: usize = MICRO_BATCH;
const SLOW_MS: f64 = 250.0;
/// How much of a newly measured call goes into an account's average.
const WEIGHT: f64 = 0.1;
/// Work that an account may have at a time: what is claimed and waits could be told of a halt less
/// soon, and is `unknown` after a kill.
const WORK_MS: f64 = 500.0;
/// What a call takes, as long as none was seen.
const FIRST_GUESS_MS: f64 = 125.0;
/// How long a claimed message waits for a connection; after that it goes back.
const SLOT_WITHIN: Duration = Duration::from_secs(1);

/// How long a claim whose turn it is waits to become a whole micro-batch: a commit's cost is by the
/// batch, not by the message. Where calls are slow it goes with less.
const GATHER: Duration = Duration::from_millis(20);

/// Whose turn it is: one account of one organisation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    pub channel: Channel,
    pub organisation: OrganisationId,
    pub account: Arc<str>,
}

/// At most 2·W over all deliveries, connections and channels of the process.
#[derive(Clone, Default)]
pub struct Permits(Arc<Mutex<State>>);

struct State {
    free: usize,
    slow_in_use: usize,
    /// Who waits, in turn; each line has a waiter at least.
    lines: VecDeque<(Turn, VecDeque<Waiter>)>,
    accounts: HashMap<Turn, Use>,
    /// When the first line became the first.
    turn_began: Instant,
    timer: bool,
}

struct Use {
    permits: usize,
    /// Of one call on one connection, on average.
    call_ms: Option<f64>,
    connections: usize,
    slots: Arc<Semaphore>,
}

impl Use {
    fn new(connections: usize) -> Self {
        let slots = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { permits: 0, call_ms: None, connections, slots }
    }

    fn is_slow(&self) -> bool {
        self.call_ms.is_some_and(|ms| ms > SLOW_MS)
    }

    /// Messages that half a second's work is, one a connection at least.
    fn may_have(&self, connections: usize) -> usize {
        let calls = (WORK_MS / self.call_ms.unwrap_or(FIRST_GUESS_MS).max(1.0)).max(1.0);
        connections.max(1).saturating_mul(calls as usize).saturating_sub(self.permits)
    }

    /// Calls under way when the settings change keep the slots that they have.
    fn slots(&mut self, connections: usize) -> Arc<Semaphore> {
        if self.connections != connections {
            *self = Self { permits: self.permits, call_ms: self.call_ms, ..Self::new(connections) };
        }
        Arc::clone(&self.slots)
    }
}

struct Waiter {
    most: usize,
    /// Of the account, in this process.
    connections: usize,
    granted: oneshot::Sender<Vec<Permit>>,
}

/// One message's leave to be `sending`. Given back when it is dropped.
pub(crate) struct Permit {
    permits: Permits,
    turn: Turn,
    slow: bool,
    slots: Arc<Semaphore>,
}

impl Permit {
    /// Waits until one of the account's connections has nothing to do; `None` where none had in
    /// time: the account is slow, though no call has ended to say so.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        match timeout(SLOT_WITHIN, self.slots.acquire()).await {
            Ok(slot) => slot.ok(),
            Err(_) => {
                self.observe(SLOT_WITHIN);
                None
            }
        }
    }

    /// How long the call took.
    pub(crate) fn observe(&self, took: Duration) {
        let mut state = self.permits.lock();
        let Some(account) = state.accounts.get_mut(&self.turn) else { return };
        let took = took.as_secs_f64() * 1_000.0;
        account.call_ms =
            Some(account.call_ms.map_or(took, |average| average + (took - average) * WEIGHT));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        state.free += 1;
        if self.slow {
            state.slow_in_use -= 1;
        }
        if let Some(account) = state.accounts.get_mut(&self.turn) {
            account.permits -= 1;
        }
        self.permits.grant(state);
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            free: ALL,
            slow_in_use: 0,
            lines: VecDeque::new(),
            accounts: HashMap::new(),
            turn_began: Instant::now(),
            timer: false,
        }
    }
}

struct Grant {
    turn: Turn,
    waiter: Waiter,
    count: usize,
    slow: bool,
    slots: Arc<Semaphore>,
}

/// What the first in line may have.
enum Share {
    Of(usize),
    /// More will soon be free.
    NotYet,
    /// It has all that it may have; the next in line is asked.
    None,
}

impl State {
    fn share(&self, turn: &Turn, waiter: &Waiter) -> Share {
        let account = self.accounts.get(turn);
        let work = account.map_or_else(
            || Use::new(1).may_have(waiter.connections),
            |account| account.may_have(waiter.connections),
        );
        let mut may_have = waiter.most.min(work);
        if account.is_some_and(Use::is_slow) {
            may_have = may_have.min(FOR_SLOW.saturating_sub(self.slow_in_use));
        }
        match (may_have, self.free) {
            (0, _) => Share::None,
            (_, 0) => Share::NotYet,
            (wanted, free) if free >= wanted => Share::Of(wanted),
            (_, free) if self.turn_began.elapsed() >= GATHER => Share::Of(free),
            _ => Share::NotYet,
        }
    }

    /// The next grant, and whom it is for.
    fn next(&mut self) -> Option<Grant> {
        for _ in 0..self.lines.len() {
            let (turn, mut line) = self.lines.pop_front()?;
            let first = line.front()?;
            if first.granted.is_closed() {
                line.pop_front();
                self.stand(turn, line, true);
                continue;
            }
            match self.share(&turn, first) {
                Share::Of(count) => {
                    let waiter = line.pop_front()?;
                    let account = self.accounts.entry(turn.clone());
                    let account = account.or_insert_with(|| Use::new(waiter.connections));
                    account.permits += count;
                    let (slow, slots) = (account.is_slow(), account.slots(waiter.connections));
                    self.free -= count;
                    self.slow_in_use += if slow { count } else { 0 };
                    self.stand(turn.clone(), line, false);
                    self.turn_began = Instant::now();
                    return Some(Grant { turn, waiter, count, slow, slots });
                }
                Share::NotYet => {
                    self.stand(turn, line, true);
                    return None;
                }
                Share::None => self.stand(turn, line, false),
            }
        }
        None
    }

    fn stand(&mut self, turn: Turn, line: VecDeque<Waiter>, first: bool) {
        match (line.is_empty(), first) {
            (true, _) => {}
            (_, true) => self.lines.push_front((turn, line)),
            (_, false) => self.lines.push_back((turn, line)),
        }
    }
}

impl Permits {
    /// Up to `most` permits, a micro-batch at the most, and one at least.
    pub(crate) async fn take(&self, turn: &Turn, most: usize, connections: usize) -> Vec<Permit> {
        let (granted, answer) = oneshot::channel();
        self.queue(turn, Waiter { most: most.clamp(1, MICRO_BATCH), connections, granted });
        answer.await.unwrap_or_default()
    }

    fn queue(&self, turn: &Turn, waiter: Waiter) {
        let mut state = self.lock();
        if state.lines.is_empty() {
            state.turn_began = Instant::now();
        }
        match state.lines.iter_mut().find(|(known, _)| known == turn) {
            Some((_, line)) => line.push_back(waiter),
            None => state.lines.push_back((turn.clone(), VecDeque::from([waiter]))),
        }
        self.grant(state);
    }

    /// In `sending` or on the way there.
    pub fn in_use(&self) -> usize {
        ALL - self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whom it can. Permits that nobody takes any more come back by themselves, so nothing
    /// is sent while the lock is held.
    fn grant(&self, mut state: MutexGuard<'_, State>) {
        let mut granted = Vec::new();
        while let Some(next) = state.next() {
            granted.push(next);
        }
        let wait = !state.lines.is_empty() && state.free > 0 && !state.timer;
        state.timer |= wait;
        drop(state);
        for Grant { turn, waiter, count, slow, slots } in granted {
            let permit = |_| Permit {
                permits: self.clone(),
                turn: turn.clone(),
                slow,
                slots: Arc::clone(&slots),
            };
            let _ = waiter.granted.send((0..count).map(permit).collect());
        }
        // Without a runtime the process is ending, and nobody waits any more.
        if wait && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let permits = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep(GATHER).await;
                let mut state = permits.lock();
                state.timer = false;
                permits.grant(state);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn turn(organisation: u128) -> Turn {
        Turn {
            channel: Channel::Email,
            organisation: OrganisationId::new(Uuid::from_u128(organisation)),
            account: "smtp".into(),
        }
    }

    async fn take(permits: &Permits, organisation: u128, most: usize) -> Vec<Permit> {
        permits.take(&turn(organisation), most, usize::MAX).await
    }

    async fn takes_nothing(permits: &Permits, organisation: u128) -> bool {
        tokio::time::timeout(GATHER * 4, take(permits, organisation, 1)).await.is_err()
    }

    #[tokio::test]
    async fn no_more_than_two_micro_batches_are_out_and_each_permit_comes_back_by_itself() {
        let permits = Permits::default();
        let mut first = take(&permits, 1, 500).await;
        let second = take(&permits, 2, 500).await;
        assert_eq!((first.len(), second.len()), (MICRO_BATCH, MICRO_BATCH));
        assert!(takes_nothing(&permits, 3).await, "all are out");
        first.truncate(MICRO_BATCH - 3);
        assert_eq!(take(&permits, 1, 500).await.len(), 3, "it goes with what is free");
        drop((first, second));
        assert_eq!(permits.in_use(), 0);
    }

    #[tokio::test]
    async fn an_organisation_with_many_waiting_batches_has_one_turn_a_round() {
        let permits = Permits::default();
        let held = (take(&permits, 1, 64).await, take(&permits, 1, 64).await);
        let order: Arc<Mutex<Vec<u128>>> = Arc::default();
        let mut waiting = tokio::task::JoinSet::new();
        for organisation in [1, 1, 1, 1, 2] {
            let (permits, order) = (permits.clone(), Arc::clone(&order));
            waiting.spawn(async move {
                let taken = take(&permits, organisation, 64).await;
                order.lock().expect("unpoisoned").push(organisation);
                drop(taken);
            });
            tokio::task::yield_now().await;
        }
        drop(held);
        while waiting.join_next().await.is_some() {}
        let order = order.lock().expect("unpoisoned").clone();
        assert!(order[..2].contains(&2), "{order:?}");
    }

    #[tokio::test]
    async fn slow_accounts_share_half() {
        let permits = Permits::default();
        for organisation in [1, 2] {
            let one = take(&permits, organisation, 1).await;
            for _ in 0..50 {
                one[0].observe(Duration::from_secs(1));
            }
        }
        let first = take(&permits, 1, 40).await;
        let second = take(&permits, 2, 40).await;
        assert_eq!((first.len(), second.len()), (40, FOR_SLOW - 40));
        assert!(takes_nothing(&permits, 2).await, "the slow have their half");
        assert_eq!(take(&permits, 3, 64).await.len(), 64, "the others have theirs");
    }

    #[tokio::test]
    async fn an_account_has_half_a_seconds_work_and_no_more_calls_than_connections() {
        let permits = Permits::default();
        let first = permits.take(&turn(4), 64, 5).await;
        assert_eq!(first.len(), 20, "as much as is guessed");
        let calls: Vec<_> = futures::future::join_all(first[..5].iter().map(Permit::slot)).await;
        assert!(calls.iter().all(Option::is_some));
        assert!(first[5].slot().now_or_never().is_none(), "all its connections have a call");
        drop(calls);
        assert!(first[5].slot().now_or_never().is_some());
        first[0].observe(Duration::from_millis(50));
        let second = permits.take(&turn(4), 64, 5).await;
        assert_eq!(second.len(), 30, "ten calls a connection");
        for _ in 0..100 {
            first[0].observe(Duration::from_secs(2));
        }
        drop((first, second));
        assert_eq!(permits.take(&turn(4), 64, 5).await.len(), 5, "one a connection");
    }

    #[tokio::test]
    async fn an_account_whose_calls_never_end_is_slow() {
        let permits = Permits::default();
        let first = permits.take(&turn(4), 64, 5).await;
        let _hung = futures::future::join_all(first[..5].iter().map(Permit::slot)).await;
        assert!(first[5].slot().await.is_none());
        drop(permits.take(&turn(5), 64, 5).await);
        let more = timeout(GATHER * 4, permits.take(&turn(4), 64, 5)).await;
        assert!(more.is_err(), "five of twenty were for its connections, and all have a call");
    }

    #[tokio::test]
    async fn who_gave_up_waiting_loses_no_permits() {
        let permits = Permits::default();
        let held = (take(&permits, 1, 64).await, take(&permits, 1, 64).await);
        assert!(takes_nothing(&permits, 2).await);
        drop(held);
        assert_eq!(take(&permits, 2, 64).await.len(), 64);
        assert_eq!(permits.in_use(), 0);
    }
}
