//! Whether a call may go on: nobody has halted the campaign or suppressed the customer, the worker
//! is alive, and the deadline lies ahead. One query every half second clears all that is in hand.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use carillon_contracts::ids::{CampaignId, CustomerId, OrganisationId};
use carillon_service_kit::{Clock, Stop};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use sea_orm::DbErr;

use crate::{
    gateway::InSeries,
    store::{self, ClaimId, Store},
    throttle::Token,
};

const EVERY: Duration = Duration::from_millis(500);
/// What cleared a message must have begun within this time.
const FRESH: Duration = Duration::from_secs(1);

/// Since the machine started; unlike `Instant` it goes on while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boottime(u64);

impl Boottime {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Self(seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_micros(Self::now().0.saturating_sub(self.0))
    }
}

/// Says whether a call may still go on. Asked before the call, and again before whatever cannot
/// be taken back, such as SMTP's final dot.
#[derive(Clone)]
pub struct Clearance {
    kind: Kind,
    stop: Stop,
    begin_by: Option<Instant>,
    series: Option<InSeries>,
}

#[derive(Clone)]
enum Kind {
    Until(Instant),
    Ticket(Arc<Ticket>),
}

impl Clearance {
    /// Whether what can be taken back may go on: for a stop it does not.
    pub fn holds(&self) -> bool {
        !self.stop.is_stopping() && self.goes_on()
    }

    /// Whether a call of which a part has left for good may go on: a stop waits for it.
    pub fn goes_on(&self) -> bool {
        match &self.kind {
            Kind::Until(until) => Instant::now() < *until,
            Kind::Ticket(ticket) => ticket.holds(),
        }
    }

    /// Whether the call may begin: it holds, and the time that a throttle gave for it is not over.
    pub fn may_begin(&self) -> bool {
        self.holds() && self.begin_by.is_none_or(|by| Instant::now() < by)
    }

    /// Where the message stands in a series of the account's throttle, if it has such a one.
    pub fn series(&self) -> Option<InSeries> {
        self.series
    }

    /// Ends when a stop no longer waits: at once for what can be taken back, and after most of the
    /// grace for what has `left` by then.
    pub async fn broken_off(&self, left: impl Fn() -> bool) {
        self.stop.requested().await;
        if left() {
            self.stop.calls_over().await;
        }
    }

    /// For tests of gateways.
    pub fn until(until: Instant) -> Self {
        Self { kind: Kind::Until(until), stop: Stop::new(), begin_by: None, series: None }
    }

    /// For tests of gateways: one that a stop withdraws.
    #[must_use]
    pub fn within(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// For tests of gateways: one of a throttle's tokens.
    #[must_use]
    pub fn begin_by(self, by: Instant, series: Option<InSeries>) -> Self {
        Self { begin_by: Some(by), series, ..self }
    }
}

/// What a message in hand must be asked about.
pub(crate) struct About {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub customer: CustomerId,
    pub require_consent: bool,
    pub deadline: Timestamp,
    /// Claims of an epoch that was declared dead are not called any more.
    pub claim: ClaimId,
    /// When the claim that cleared it first was begun.
    pub claimed_at: Boottime,
    /// Of the account's throttle, where it has one.
    pub token: Option<Token>,
}

struct Ticket {
    number: u64,
    about: About,
    taken_at: Boottime,
    barred: AtomicBool,
    watch: Arc<Watch>,
}

impl Ticket {
    fn holds(&self) -> bool {
        let swept = Boottime(self.watch.cleared_at.load(Ordering::Acquire));
        let cleared = if swept >= self.taken_at {
            swept.max(self.about.claimed_at)
        } else {
            self.about.claimed_at
        };
        !self.barred.load(Ordering::Acquire)
            && cleared.elapsed() < FRESH
            && self.watch.alive.covers(self.about.claim)
            && self.watch.clock.now() < self.about.deadline
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.watch.lock().remove(&self.number);
    }
}

/// Whether this worker's heartbeat is good: on a database that nobody shares it always is.
#[derive(Clone, Default)]
pub(crate) struct Alive(Option<Arc<dyn Fn(ClaimId) -> bool + Send + Sync>>);

impl Alive {
    pub(crate) fn told_by(covers: impl Fn(ClaimId) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(covers)))
    }

    fn covers(&self, claim: ClaimId) -> bool {
        self.0.as_ref().is_none_or(|covers| covers(claim))
    }
}

struct Asked {
    organisation: OrganisationId,
    campaign: CampaignId,
    customer: CustomerId,
    require_consent: bool,
    ticket: Weak<Ticket>,
}

/// Every message in hand.
pub(crate) struct Watch {
    clock: Clock,
    alive: Alive,
    stop: Stop,
    /// When the last good query began.
    cleared_at: AtomicU64,
    numbers: AtomicU64,
    in_hand: Mutex<HashMap<u64, Asked>>,
}

impl Watch {
    pub(crate) fn new(clock: Clock, alive: Alive, stop: Stop) -> Arc<Self> {
        Arc::new(Self {
            clock,
            alive,
            stop,
            cleared_at: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            in_hand: Mutex::default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Asked>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is watched until the last clone of the answer is gone.
    pub(crate) fn take(self: &Arc<Self>, about: About) -> Clearance {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (organisation, campaign, customer) =
            (about.organisation, about.campaign, about.customer);
        let (token, require_consent) = (about.token, about.require_consent);
        let ticket = Arc::new(Ticket {
            number,
            about,
            taken_at: Boottime::now(),
            barred: AtomicBool::new(false),
            watch: Arc::clone(self),
        });
        let ticket_of = Arc::downgrade(&ticket);
        let asked = Asked { organisation, campaign, customer, require_consent, ticket: ticket_of };
        self.lock().insert(number, asked);
        Clearance {
            kind: Kind::Ticket(ticket),
            stop: self.stop.clone(),
            begin_by: token.map(|token| token.until),
            series: token.and_then(|token| token.series),
        }
    }

    /// Asks about everything in hand, again and again. A question without an answer clears nothing.
    pub(crate) async fn sweep(self: Arc<Self>, store: Store, stop: Stop) -> Result<(), DbErr> {
        // Calls under way are finished while stopping, so they must still be cleared.
        while !stop.is_stopping() || !self.lock().is_empty() {
            tokio::time::sleep(EVERY).await;
            let begun = Boottime::now();
            match self.ask(&store).await {
                Ok(()) => self.cleared_at.store(begun.0, Ordering::Release),
                Err(error) => tracing::warn!(%error, "halts and opt-outs not read; nothing begins"),
            }
        }
        Ok(())
    }

    async fn ask(&self, store: &Store) -> Result<(), DbErr> {
        let mut campaigns = BTreeSet::new();
        let mut customers = BTreeSet::new();
        for asked in self.lock().values() {
            campaigns.insert(asked.campaign);
            customers.insert((asked.organisation, asked.customer));
        }
        if campaigns.is_empty() {
            return Ok(());
        }
        let (reader, campaigns) = (store.database.reader(), campaigns.into_iter());
        let customers = customers.into_iter();
        let barred = store::barred_of_all_organisations(reader, campaigns, customers).await?;
        // What was taken in meanwhile is barred with it: what was read holds for it, too.
        let is_barred = |asked: &&Asked| {
            let customer = (asked.organisation, asked.customer);
            barred.campaigns.contains(&asked.campaign)
                || barred.customers.contains(&customer)
                || asked.require_consent && barred.without_consent.contains(&customer)
        };
        // A ticket that ends takes the lock, so none may end here while it is held.
        let tickets: Vec<Weak<Ticket>> =
            self.lock().values().filter(is_barred).map(|asked| asked.ticket.clone()).collect();
        for ticket in tickets.iter().filter_map(Weak::upgrade) {
            ticket.barred.store(true, Ordering::Release);
        }
        Ok(())
    }
}
