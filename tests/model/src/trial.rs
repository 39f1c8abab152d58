//! For each mechanism, the smallest world in which its absence does harm, and the promise that falls there.

use crate::config::{NO_FAULTS, QUIET, events, planners};
use crate::properties::{
    CALLED_ONCE, COVERED, FEW_UNKNOWN, HALTED, IN_TIME, NO_LIES, REPORT_SUMS, SETTLES,
    SETTLES_ITSELF, STAYS_HALTED, STAYS_SETTLED, SUMS,
};
use crate::state::{Budget, Order};
use crate::{Bounds, Mutation, Verdict, check_healed, check_unharmed, check_without};

pub struct Trial {
    pub mutation: Mutation,
    pub bounds: Bounds,
    pub property: &'static str,
}

impl Trial {
    pub fn run(self) -> Verdict {
        let property = self.property;
        self.run_for(property)
    }

    /// The same world with nothing taken out: every promise must hold there, or a trial proves nothing.
    pub fn unharmed(self) -> Verdict {
        check_unharmed(self.mutation, self.bounds)
    }

    /// Whether another promise falls there, too.
    pub fn run_for(self, property: &'static str) -> Verdict {
        check_without(self.mutation, self.bounds, property)
    }
}

pub fn trials() -> Vec<Trial> {
    use Mutation::*;
    [
        Claim,
        RecordBeforeAck,
        ReleaseAgain,
        Retry,
        AskAgain,
        Marks,
        EpochFence,
        EpochRecord,
        ClaimNumber,
        RecordState,
        ClaimIsOver,
        PermitsAreKept,
        DeadlineCheck,
        HeartbeatCheck,
        OldClaims,
        MonotoneHold,
        ClosedIsRemembered,
        GrantCheck,
        TotalsAtCommit,
        TotalsVersion,
        DetailVersion,
        DetailsOfEveryEvent,
        DoubtIsKept,
        BlockCheck,
        BlockBeforeAck,
        HaltAtClaim,
        Clearance,
        AnswerAtMark,
        HaltVersion,
        HaltSettles,
        CancelFirst,
        CursorAgain,
    ]
    .into_iter()
    .filter_map(trial)
    .collect()
}

fn with(faults: Budget) -> Bounds {
    Bounds { faults, ..QUIET }
}

fn late(faults: Budget) -> Bounds {
    Bounds { lag: 3, ..with(faults) }
}

fn keys(faults: Budget) -> Bounds {
    Bounds { idempotent: true, deadline: true, ..with(faults) }
}

fn money(faults: Budget) -> Bounds {
    Bounds { money: true, credited: 2, deadline: true, ..with(faults) }
}

fn halts(orders: &'static [Order]) -> Bounds {
    Bounds { orders, ..QUIET }
}

/// None for a mechanism that another makes up for.
pub fn trial(mutation: Mutation) -> Option<Trial> {
    let (property, bounds) = match mutation {
        Mutation::AckOrder => return None,
        Mutation::Claim => (CALLED_ONCE, with(Budget { repeats: 1, ..NO_FAULTS })),
        Mutation::RecordBeforeAck => (SETTLES, with(Budget { kills: 1, ..NO_FAULTS })),
        Mutation::ReleaseAgain => (SETTLES, with(Budget { wipes: 1, ..NO_FAULTS })),
        Mutation::Retry => {
            let faults = Budget { transients: 1, ..NO_FAULTS };
            (SETTLES_ITSELF, Bounds { deadline: true, ..with(faults) })
        }
        Mutation::AskAgain => {
            let faults = Budget { permanents: 1, ..NO_FAULTS };
            (SETTLES_ITSELF, Bounds { sizes: [1, 1], credited: 1, ..money(faults) })
        }
        Mutation::Marks => (SETTLES, late(Budget { wipes: 1, transients: 1, ..NO_FAULTS })),
        Mutation::EpochFence => (SETTLES, with(Budget { zombies: 1, kills: 1, ..NO_FAULTS })),
        Mutation::DeadlineCheck => (IN_TIME, Bounds { deadline: true, ..with(NO_FAULTS) }),
        Mutation::EpochRecord | Mutation::HeartbeatCheck | Mutation::OldClaims => {
            (NO_LIES, keys(Budget { zombies: 1, permanents: 1, ..NO_FAULTS }))
        }
        Mutation::ClaimNumber => {
            (CALLED_ONCE, with(Budget { lapses: 1, lost_answers: 1, transients: 1, ..NO_FAULTS }))
        }
        Mutation::RecordState => (STAYS_SETTLED, with(Budget { receipts: 1, ..NO_FAULTS })),
        Mutation::ClaimIsOver => (CALLED_ONCE, with(Budget { lost_answers: 1, ..NO_FAULTS })),
        Mutation::PermitsAreKept => {
            let faults = Budget { lost_answers: 1, kills: 1, ..NO_FAULTS };
            (FEW_UNKNOWN, Bounds { sizes: [2, 0], permits: 1, ..with(faults) })
        }
        Mutation::MonotoneHold => (SUMS, money(Budget { kills: 1, ..NO_FAULTS })),
        Mutation::ClosedIsRemembered => (SETTLES, money(Budget { repeats: 1, ..NO_FAULTS })),
        Mutation::GrantCheck => {
            (COVERED, Bounds { sizes: [2, 0], credited: 1, ..money(NO_FAULTS) })
        }
        Mutation::TotalsAtCommit => (REPORT_SUMS, Bounds { sizes: [2, 0], ..late(NO_FAULTS) }),
        Mutation::TotalsVersion => (SETTLES, events()),
        Mutation::DetailVersion => (SETTLES, late(Budget { doubts: 1, receipts: 1, ..NO_FAULTS })),
        Mutation::DetailsOfEveryEvent => (SETTLES, Bounds { sizes: [2, 0], ..late(NO_FAULTS) }),
        Mutation::DoubtIsKept => {
            (NO_LIES, keys(Budget { kills: 1, zombies: 1, transients: 1, ..NO_FAULTS }))
        }
        Mutation::BlockCheck => (SETTLES, with(Budget { repeats: 1, ..NO_FAULTS })),
        Mutation::BlockBeforeAck => (SETTLES, with(Budget { transients: 1, ..NO_FAULTS })),
        Mutation::HaltAtClaim | Mutation::Clearance => (HALTED, halts(&[Order::Cancel])),
        Mutation::AnswerAtMark => (HALTED, halts(&[Order::OptOut])),
        Mutation::HaltVersion => (SETTLES, halts(&[Order::Pause, Order::Resume])),
        Mutation::HaltSettles => (SETTLES, halts(&[Order::Pause, Order::Cancel])),
        Mutation::CancelFirst => {
            (STAYS_HALTED, Bounds { deadline: true, ..halts(&[Order::Cancel]) })
        }
        Mutation::CursorAgain => (SETTLES, planners()),
    };
    Some(Trial { mutation, bounds, property })
}

/// An ack that comes too early loses a delivery; since nothing was accepted, the job is released again.
pub fn healed() -> Verdict {
    let faults = Budget { kills: 1, wipes: 1, repeats: 1, transients: 1, ..NO_FAULTS };
    check_healed(Mutation::AckOrder, Bounds { sizes: [1, 1], faults, ..QUIET })
}
