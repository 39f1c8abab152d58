//! The promises.

use stateright::Property;

use crate::Carillon;
use crate::drain::{self, Goal};
use crate::state::{Event, Gate, News, REPORT, RowState, State};
use crate::step;

pub const CALLED_ONCE: &str = "no gateway is called again for what it may have taken";
pub const NO_LIES: &str = "no state says what is not so";
pub const STAYS_SETTLED: &str = "what is settled stays settled";
pub const SUMS: &str = "available + held + spent = credited, each at least 0";
pub const COVERED: &str = "nothing is sent that was not held";
pub const FEW_UNKNOWN: &str = "a fault leaves no more unknown than a worker has permits";
pub const REPORT_SUMS: &str =
    "at every read, the report's sums are a count of the messages that it has heard of";
pub const IN_TIME: &str = "no gateway is called after the deadline";
pub const HALTED: &str = "no gateway is called two seconds after a halt or an opt-out is in effect";
pub const STAYS_HALTED: &str =
    "what waits when a halt or an opt-out is in effect is not sent, and ends as it says";
pub const PLANNED: &str = "of the plan, and of what is heard of it, matched = planned + skipped";
pub const SETTLES: &str = "everything settles once the faults stop";
pub const SETTLES_ITSELF: &str =
    "once the faults stop, everything that money suffices for settles without the deadline";

pub fn all() -> Vec<Property<Carillon>> {
    vec![
        Property::always(CALLED_ONCE, |_, state: &State| !state.breach.called_twice),
        Property::always(NO_LIES, tells_the_truth),
        Property::always(STAYS_SETTLED, |_, state: &State| !state.breach.reopened),
        Property::always(SUMS, sums_are_equal),
        Property::always(COVERED, is_covered),
        Property::always(FEW_UNKNOWN, few_are_unknown),
        Property::always(REPORT_SUMS, report_adds_up),
        Property::always(IN_TIME, |_, state: &State| !state.breach.called_late),
        Property::always(HALTED, |_, state: &State| !state.breach.called_halted),
        Property::always(STAYS_HALTED, |_, state: &State| !state.breach.not_halted),
        Property::always(PLANNED, step::plan_adds_up),
        Property::always(SETTLES, |model, state| drain::reaches(model, state, Goal::Settled)),
        Property::always(SETTLES_ITSELF, |model, state| {
            drain::reaches(model, state, Goal::SettledOrShort)
        }),
    ]
}

pub const NEVER_SENT: &str = "nothing is ever sent";
pub const NEVER_DELIVERED: &str = "no receipt ever counts";
pub const NEVER_FAILED: &str = "nothing ever fails";
pub const NEVER_EXPIRED: &str = "nothing ever expires";
pub const NEVER_UNKNOWN: &str = "nothing is ever unknown";
pub const NEVER_DOUBTFUL: &str = "nothing is ever doubtful";
pub const NEVER_SHORT: &str = "nobody ever waits for money";
pub const NEVER_LATE: &str = "no totals ever overtake others";
pub const NEVER_OUT_OF_MONEY: &str = "only want of money ever stops anybody";
pub const NEVER_CANCELLED: &str = "nothing is ever cancelled";
pub const NEVER_SUPPRESSED: &str = "nothing is ever suppressed";
pub const NEVER_OVERTAKEN: &str = "no order is ever heard before an earlier one";
pub const NEVER_CLEARED: &str = "no halt ever meets a message in hand that was cleared";
pub const NEVER_STALE: &str = "no planner ever comes too late";

/// What must be false, or the model would hold because nothing happens in it.
pub fn idle() -> Vec<Property<Carillon>> {
    vec![
        Property::always(NEVER_SENT, |_, state: &State| none_is(state, RowState::Sent)),
        Property::always(NEVER_DELIVERED, |_, state: &State| none_is(state, RowState::Delivered)),
        Property::always(NEVER_FAILED, |_, state: &State| none_is(state, RowState::Failed)),
        Property::always(NEVER_EXPIRED, |_, state: &State| none_is(state, RowState::Expired)),
        Property::always(NEVER_UNKNOWN, |_, state: &State| none_is(state, RowState::Unknown)),
        Property::always(NEVER_DOUBTFUL, |_, state: &State| {
            !state.rows.iter().any(|row| row.doubtful)
        }),
        Property::always(NEVER_SHORT, |_, state: &State| {
            let waits =
                state.rows.iter().any(|row| row.state == RowState::Queued && row.attempt == 0);
            !(waits && state.account.available == 0)
        }),
        Property::always(NEVER_LATE, |_, state: &State| {
            !state.outbox.iter().any(|event| is_late(state, event))
        }),
        Property::always(NEVER_OUT_OF_MONEY, |model, state| !drain::is_short(model, state)),
        Property::always(NEVER_CANCELLED, |_, state: &State| none_is(state, RowState::Cancelled)),
        Property::always(NEVER_SUPPRESSED, |_, state: &State| none_is(state, RowState::Suppressed)),
        Property::always(NEVER_OVERTAKEN, |_, state: &State| {
            !(state.orders.known == 2 && state.orders.unheard[0])
        }),
        Property::always(NEVER_CLEARED, |_, state: &State| {
            let cleared = state.workers.iter().flat_map(|worker| &worker.claims).any(|c| c.cleared);
            !(cleared && state.orders.known == 1)
        }),
        Property::always(NEVER_STALE, |_, state: &State| {
            state.plan.read.is_none_or(|read| read == state.plan.progress)
        }),
    ]
}

fn none_is(state: &State, unwanted: RowState) -> bool {
    state.rows.iter().all(|row| row.state != unwanted)
}

fn is_late(state: &State, event: &Event) -> bool {
    let known = state.report[usize::from(event.batch)].version;
    matches!(event.news, News::Totals(version, ..) if version < known && event.queued[REPORT])
}

fn tells_the_truth(model: &Carillon, state: &State) -> bool {
    (0..model.bounds.messages()).all(|message| {
        let row = &state.rows[message];
        let taken = state.gates[message] == Gate::Accepted;
        match row.state {
            RowState::Absent => !taken,
            RowState::Queued => !taken || row.doubtful,
            RowState::Sent | RowState::Delivered => taken,
            RowState::Failed | RowState::Expired | RowState::Cancelled | RowState::Suppressed => {
                !taken
            }
            RowState::Sending | RowState::Unknown => true,
        }
    })
}

fn sums_are_equal(model: &Carillon, state: &State) -> bool {
    let account = &state.account;
    let holds: i8 = (0..model.bounds.batches()).map(|batch| state.holds[batch].held).sum();
    account.available + account.held + account.spent == account.credited
        && [account.available, account.held, account.spent].iter().all(|amount| *amount >= 0)
        && holds == account.held
}

/// What rows have taken is held for their batch, or already spent on it.
fn is_covered(model: &Carillon, state: &State) -> bool {
    (0..model.bounds.batches()).all(|batch| {
        let hold = &state.holds[batch];
        step::used(model, state, batch) <= hold.held + hold.posted
    })
}

fn few_are_unknown(model: &Carillon, state: &State) -> bool {
    let before = &model.bounds.faults;
    let faults = (before.kills - state.left.kills) + (before.zombies - state.left.zombies);
    let doubts = usize::from(before.doubts - state.left.doubts);
    let unknown = state.rows.iter().filter(|row| row.state == RowState::Unknown).count();
    unknown <= usize::from(faults) * model.bounds.permits + doubts
}

fn report_adds_up(model: &Carillon, state: &State) -> bool {
    (0..model.bounds.batches()).all(|batch| step::report_adds_up(model, state, batch))
}
