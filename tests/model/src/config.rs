//! The bounds: how small the world is, and what may happen in it.

use crate::state::{BATCHES, Budget, Order};

/// What one step of the plan makes of some of the audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub batch: Option<usize>,
    pub skipped: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub name: &'static str,
    /// Recipients of each batch; a batch of none does not exist.
    pub sizes: [usize; BATCHES],
    /// How many messages a worker may hold in `sending` (2·W).
    pub permits: usize,
    pub faults: Budget,
    /// The gateway takes an idempotency key, so a doubtful message is called again.
    pub idempotent: bool,
    pub money: bool,
    pub credited: i8,
    pub deadline: bool,
    /// The audience, in the order in which it is planned. Pages of a batch that does not exist do not, either.
    pub pages: &'static [Page],
    /// A second planner may be held up anywhere; and the plan's end is told.
    pub planners: bool,
    /// What is said of the campaign or of a customer, each in its time.
    pub orders: &'static [Order],
    /// How many outbox rows may wait for their subscribers; 0: every event arrives in the step that writes it.
    pub lag: usize,
}

impl Bounds {
    pub fn messages_of(&self, batch: usize) -> std::ops::Range<usize> {
        let start: usize = self.sizes[..batch].iter().sum();
        start..start + self.sizes[batch]
    }

    pub fn batch_of(&self, message: usize) -> usize {
        usize::from(message >= self.sizes[0])
    }

    pub fn batches(&self) -> usize {
        self.sizes.iter().filter(|size| **size > 0).count()
    }

    pub fn messages(&self) -> usize {
        self.sizes.iter().sum()
    }

    pub fn pages(&self) -> Vec<Page> {
        let exists = |page: &&Page| page.batch.is_none_or(|batch| batch < self.batches());
        self.pages.iter().filter(exists).copied().collect()
    }

    pub fn planned_by(&self, page: &Page) -> usize {
        page.batch.map_or(0, |batch| self.sizes[batch])
    }

    /// How many messages the filter matches.
    pub fn matched(&self) -> usize {
        self.pages().iter().map(|page| self.planned_by(page) + page.skipped).sum()
    }
}

pub const NO_FAULTS: Budget = Budget {
    kills: 0,
    zombies: 0,
    wipes: 0,
    repeats: 0,
    lapses: 0,
    lost_answers: 0,
    transients: 0,
    permanents: 0,
    doubts: 0,
    credits: 0,
    receipts: 0,
};

const fn page(batch: usize) -> Page {
    Page { batch: Some(batch), skipped: 0 }
}

/// One message, two workers, no faults.
pub const QUIET: Bounds = Bounds {
    name: "",
    sizes: [1, 0],
    permits: 2,
    faults: NO_FAULTS,
    idempotent: false,
    money: false,
    credited: 0,
    deadline: false,
    pages: &[page(0), page(1)],
    planners: false,
    orders: &[],
    lag: 0,
};

/// Three recipients in two batches, two workers, two kills, and a broker that loses, repeats and reorders.
pub fn crashes() -> Bounds {
    let faults = Budget { kills: 2, wipes: 1, repeats: 1, ..NO_FAULTS };
    Bounds { name: "crashes", sizes: [2, 1], faults, ..QUIET }
}

/// Two messages, a zombie, a kill, a retry, a call in doubt, and the deadline at any time.
pub fn zombies() -> Bounds {
    let faults = Budget { kills: 1, zombies: 1, transients: 1, doubts: 1, ..NO_FAULTS };
    Bounds { name: "zombies", sizes: [2, 0], faults, deadline: true, ..QUIET }
}

/// One message and every misfortune of a gateway without idempotency.
pub fn misfortunes() -> Bounds {
    let faults = Budget {
        kills: 2,
        zombies: 1,
        lapses: 1,
        lost_answers: 1,
        transients: 1,
        doubts: 1,
        receipts: 1,
        ..NO_FAULTS
    };
    Bounds { name: "misfortunes", faults, deadline: true, ..QUIET }
}

/// A gateway that takes idempotency keys: doubtful messages are called again.
pub fn keys() -> Bounds {
    let faults = Budget {
        kills: 1,
        zombies: 1,
        lost_answers: 1,
        transients: 1,
        permanents: 1,
        receipts: 1,
        ..NO_FAULTS
    };
    Bounds { name: "keys", faults, idempotent: true, deadline: true, ..QUIET }
}

/// Two credits for three messages in two batches, and one that a refusal gives back.
pub fn money() -> Bounds {
    let faults = Budget { kills: 1, permanents: 1, ..NO_FAULTS };
    Bounds {
        name: "money",
        sizes: [2, 1],
        permits: 1,
        faults,
        money: true,
        credited: 2,
        deadline: true,
        ..QUIET
    }
}

/// One credit for two messages, while a zombie, a lost answer and the provider's receipts change what was posted.
pub fn receipts() -> Bounds {
    let faults = Budget { zombies: 1, lost_answers: 1, doubts: 1, receipts: 1, ..NO_FAULTS };
    Bounds {
        name: "receipts",
        sizes: [2, 0],
        permits: 1,
        faults,
        money: true,
        credited: 1,
        deadline: true,
        ..QUIET
    }
}

/// Retries after acceptance, with events that are late, lost, repeated and out of order.
pub fn events() -> Bounds {
    let faults = Budget { wipes: 1, repeats: 1, transients: 2, ..NO_FAULTS };
    Bounds {
        name: "events",
        permits: 1,
        faults,
        money: true,
        credited: 1,
        deadline: true,
        lag: 3,
        ..QUIET
    }
}

/// Two batches compete for one credit while their events are late.
pub fn purse() -> Bounds {
    let faults = Budget { credits: 1, ..NO_FAULTS };
    Bounds {
        name: "purse",
        sizes: [1, 1],
        permits: 1,
        faults,
        money: true,
        credited: 1,
        lag: 2,
        ..QUIET
    }
}

/// A worker is killed, and a call made again, while events are late and repeated: one credit is spent once.
pub fn late_crashes() -> Bounds {
    let faults = Budget { kills: 1, repeats: 1, transients: 1, ..NO_FAULTS };
    Bounds {
        name: "late crashes",
        faults,
        money: true,
        credited: 1,
        deadline: true,
        lag: 2,
        ..QUIET
    }
}

/// A campaign is paused and resumed at any time, while a worker dies and a call must be made again.
pub fn pauses() -> Bounds {
    let faults = Budget { kills: 1, lost_answers: 1, transients: 1, ..NO_FAULTS };
    Bounds {
        name: "pauses",
        sizes: [2, 0],
        permits: 1,
        faults,
        deadline: true,
        orders: &[Order::Pause, Order::Resume],
        ..QUIET
    }
}

/// A campaign that is paused, or was not yet heard to be, is cancelled, and the credits of one batch serve the other.
pub fn cancels() -> Bounds {
    let faults = Budget { kills: 1, permanents: 1, ..NO_FAULTS };
    Bounds {
        name: "cancels",
        sizes: [1, 1],
        permits: 1,
        faults,
        money: true,
        credited: 1,
        deadline: true,
        orders: &[Order::Pause, Order::Cancel],
        ..QUIET
    }
}

/// What may have been taken under a key is cancelled, and not said to be.
pub fn cancelled_keys() -> Bounds {
    let faults = Budget { kills: 1, zombies: 1, transients: 1, receipts: 1, ..NO_FAULTS };
    Bounds {
        name: "cancelled keys",
        faults,
        idempotent: true,
        deadline: true,
        orders: &[Order::Cancel],
        ..QUIET
    }
}

/// One of two customers opts out.
pub fn opt_outs() -> Bounds {
    let faults = Budget { kills: 1, lost_answers: 1, transients: 1, ..NO_FAULTS };
    Bounds {
        name: "opt-outs",
        sizes: [2, 0],
        permits: 1,
        faults,
        deadline: true,
        orders: &[Order::OptOut],
        ..QUIET
    }
}

/// Two planners of one run, of whom one may be held up, and a broker that loses and repeats what they tell.
pub fn planners() -> Bounds {
    let faults = Budget { wipes: 1, repeats: 1, ..NO_FAULTS };
    Bounds {
        name: "planners",
        sizes: [1, 1],
        permits: 1,
        faults,
        pages: &[
            Page { batch: None, skipped: 1 },
            Page { batch: Some(0), skipped: 1 },
            Page { batch: Some(1), skipped: 0 },
        ],
        planners: true,
        lag: 2,
        ..QUIET
    }
}

pub fn all() -> Vec<Bounds> {
    vec![
        crashes(),
        zombies(),
        misfortunes(),
        keys(),
        money(),
        receipts(),
        events(),
        purse(),
        late_crashes(),
        pauses(),
        cancels(),
        cancelled_keys(),
        opt_outs(),
        planners(),
    ]
}
