//! Everything that exists in one moment: the databases, the broker, the workers' memories and the provider.

use std::ops::Range;

pub const MESSAGES: usize = 3;
pub const BATCHES: usize = 2;
pub const SLOTS: usize = 2;
pub const SUBSCRIBERS: usize = 2;
pub const ORDERS: usize = 2;
pub const PAGES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowState {
    /// Planned; the dispatcher has no row of it yet.
    Absent,
    Queued,
    Sending,
    Sent,
    Delivered,
    Failed,
    Expired,
    Cancelled,
    Suppressed,
    Unknown,
}

impl RowState {
    pub fn settled(self) -> bool {
        !matches!(self, RowState::Absent | RowState::Queued | RowState::Sending)
    }

    /// What late knowledge may still do to a settled row.
    pub fn may_become(self, later: RowState) -> bool {
        match self {
            RowState::Unknown => {
                matches!(later, RowState::Sent | RowState::Delivered | RowState::Failed)
            }
            RowState::Sent => later == RowState::Delivered,
            _ => false,
        }
    }
}

/// Whose claim a `sending` row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Nobody,
    /// The present epoch of the worker in this slot.
    Slot(u8),
    /// A dead epoch that is still swept.
    Dead,
    /// A dead epoch whose sweep is over. Only a missing fence brings a row here.
    Forgotten,
}

/// A row of the dispatcher's `messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    pub state: RowState,
    pub attempt: u8,
    pub doubtful: bool,
    pub owner: Owner,
}

/// What the provider did: the truth that no database sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    Untouched,
    Accepted,
    /// A call ended in doubt, and the provider had not taken it.
    Doubted,
}

/// A row of the dispatcher's `batches`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Book {
    pub version: u8,
    pub granted: i8,
    pub block: bool,
    /// Set by the mutation that accepts a delivery before its rows are recorded.
    pub accepted_early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// The claim is committed, its answer has not come yet.
    OnTheWay,
    NotYetCalled,
    GivenBack,
    Sent,
    Transient,
    Permanent,
    Doubt,
}

/// A claim in a worker's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    pub message: u8,
    pub attempt: u8,
    /// The row carries a newer claim's number. Only the database could tell the worker.
    pub stale: bool,
    /// What cleared it began under a second ago.
    pub cleared: bool,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    NotNeeded,
    Needed,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delivery {
    pub batch: u8,
    /// The broker still knows of it and gives it to another if this worker goes.
    pub live: bool,
    /// It brings the sealed block. A job released after the deadline brings the cause instead.
    pub sealed: bool,
    /// Sent once already by this worker; only told apart where the claim is taken out.
    pub begun: bool,
    pub ask: Ask,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub up: bool,
    /// Its epoch is dead although it runs.
    pub fenced: bool,
    pub delivery: Option<Delivery>,
    /// Billing's answer that no transaction has stored yet: batch and cumulative grant.
    pub answer: Option<(u8, i8)>,
    pub claims: Vec<Claim>,
}

/// Cumulative totals of a batch at one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Totals {
    pub sent: i8,
    pub delivered: i8,
    pub failed: i8,
    pub expired: i8,
    pub cancelled: i8,
    pub suppressed: i8,
    pub unknown: i8,
    pub open: i8,
    pub accepted: bool,
}

impl Totals {
    pub fn posted(&self) -> i8 {
        self.sent + self.delivered + self.unknown
    }

    pub fn needed(&self) -> i8 {
        self.posted() + self.open
    }

    pub fn closed(&self) -> bool {
        self.open == 0
    }
}

/// What the transaction settled, by message.
pub type Changes = [Option<RowState>; MESSAGES];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum News {
    /// A step of the plan, by the page that it planned.
    Planned(u8),
    /// The plan is closed, with its totals.
    RunPlanned(Progress),
    Totals(u8, Totals, Changes),
}

impl News {
    pub fn version(&self) -> Option<u8> {
        match self {
            News::Totals(version, ..) => Some(*version),
            News::Planned(_) | News::RunPlanned(_) => None,
        }
    }
}

/// An outbox row, and its copies in the subscribers' queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    pub batch: u8,
    pub news: News,
    pub stored: bool,
    pub queued: [bool; SUBSCRIBERS],
    pub handled: [bool; SUBSCRIBERS],
}

pub const BILLING: usize = 0;
pub const REPORT: usize = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    pub available: i8,
    pub held: i8,
    pub spent: i8,
    pub credited: i8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold {
    pub granted: i8,
    pub held: i8,
    pub posted: i8,
    pub version: u8,
    pub closed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    pub heard: bool,
    pub version: u8,
    pub totals: Totals,
}

/// The report's row of one message, with the batch version of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Detail {
    pub settled: Option<RowState>,
    pub version: u8,
}

/// How far the plan of the run is: the pages that are done, and whom they planned and skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Progress {
    pub cursor: u8,
    pub planned: u8,
    pub skipped: u8,
}

/// The evaluator's row of the run, and its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plan {
    pub progress: Progress,
    pub batches: [bool; BATCHES],
    /// As a planner read it that was held up before it had the run.
    pub read: Option<Progress>,
}

/// What the report has heard of the plan. A step that is told again counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Told {
    pub steps: [bool; PAGES],
    pub end: Option<Progress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Order {
    Pause,
    Resume,
    Cancel,
    /// Of the customer of the first message.
    OptOut,
}

impl Order {
    pub fn stops(self, message: usize) -> bool {
        match self {
            Order::Pause | Order::Cancel => true,
            Order::OptOut => message == 0,
            Order::Resume => false,
        }
    }
}

/// Orders to halt, resume or leave out: each has its place among those given as version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Orders {
    pub given: u8,
    /// Given, and the dispatcher's database has not handled the event.
    pub unheard: [bool; ORDERS],
    /// The version that claims obey; 0: none.
    pub known: u8,
    /// The last one was answered "in effect", and two seconds have passed since.
    pub in_effect: bool,
}

/// How many of each fault, and of each provider's whim, are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget {
    pub kills: u8,
    pub zombies: u8,
    pub wipes: u8,
    pub repeats: u8,
    pub lapses: u8,
    pub lost_answers: u8,
    pub transients: u8,
    pub permanents: u8,
    pub doubts: u8,
    pub credits: u8,
    pub receipts: u8,
}

/// What must never happen between two states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Breach {
    pub called_twice: bool,
    pub reopened: bool,
    pub called_late: bool,
    pub called_halted: bool,
    pub not_halted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    pub plan: Plan,
    pub orders: Orders,
    pub released: [bool; BATCHES],
    pub ready: [u8; BATCHES],
    pub rows: [Row; MESSAGES],
    pub books: [Book; BATCHES],
    pub workers: [Worker; SLOTS],
    pub outbox: Vec<Event>,
    pub account: Account,
    pub holds: [Hold; BATCHES],
    pub report: [Line; BATCHES],
    pub told: Told,
    pub details: [Detail; MESSAGES],
    pub gates: [Gate; MESSAGES],
    pub left: Budget,
    pub deadline_passed: bool,
    pub breach: Breach,
}

impl Fate {
    /// Something is known that can be recorded.
    pub fn finished(self) -> bool {
        !matches!(self, Fate::OnTheWay | Fate::NotYetCalled)
    }
}

impl State {
    pub fn new(left: Budget, credited: i8) -> Self {
        let row =
            Row { state: RowState::Absent, attempt: 0, doubtful: false, owner: Owner::Nobody };
        let worker = Worker { up: true, ..Worker::default() };
        State {
            plan: Plan::default(),
            orders: Orders::default(),
            released: [false; BATCHES],
            ready: [0; BATCHES],
            rows: [row; MESSAGES],
            books: [Book::default(); BATCHES],
            workers: [worker.clone(), worker],
            outbox: Vec::new(),
            account: Account { available: credited, credited, ..Account::default() },
            holds: [Hold::default(); BATCHES],
            report: [Line::default(); BATCHES],
            told: Told::default(),
            details: [Detail::default(); MESSAGES],
            gates: [Gate::Untouched; MESSAGES],
            left,
            deadline_passed: false,
            breach: Breach::default(),
        }
    }

    /// Only the order of versions matters, so they are renumbered: otherwise equal states would differ by their history.
    pub fn renumber_versions(&mut self, messages_of: impl Fn(usize) -> Range<usize>) {
        for batch in 0..BATCHES {
            let told = self.versions_on_the_way(batch);
            for detail in &mut self.details[messages_of(batch)] {
                let below = told.iter().filter(|version| **version <= detail.version).max();
                detail.version = below.copied().unwrap_or(0);
            }
            let (book, hold) = (self.books[batch].version, self.holds[batch].version);
            let mut seen = vec![0, book, hold, self.report[batch].version];
            seen.extend(told);
            seen.sort_unstable();
            seen.dedup();
            if seen.last().is_none_or(|last| usize::from(*last) + 1 == seen.len()) {
                continue;
            }
            let rank = |version: &mut u8| {
                *version =
                    seen.iter().position(|v| v == version).map_or(*version, |place| place as u8);
            };
            rank(&mut self.books[batch].version);
            rank(&mut self.holds[batch].version);
            rank(&mut self.report[batch].version);
            self.details[messages_of(batch)]
                .iter_mut()
                .for_each(|detail| rank(&mut detail.version));
            for event in self.outbox.iter_mut().filter(|e| usize::from(e.batch) == batch) {
                if let News::Totals(version, ..) = &mut event.news {
                    rank(version);
                }
            }
        }
    }

    fn versions_on_the_way(&self, batch: usize) -> Vec<u8> {
        let mine = self.outbox.iter().filter(|event| usize::from(event.batch) == batch);
        mine.filter_map(|event| event.news.version()).collect()
    }

    /// The two workers are alike: of a state and its mirror image, only one needs a visit.
    pub fn representative(&self) -> State {
        if self.workers[0] < self.workers[1] {
            return self.clone();
        }
        let mut mirror = self.clone();
        mirror.workers.swap(0, 1);
        for row in &mut mirror.rows {
            if let Owner::Slot(slot) = &mut row.owner {
                *slot = 1 - *slot;
            }
        }
        if mirror.workers[0] < mirror.workers[1] { mirror } else { mirror.min(self.clone()) }
    }
}
