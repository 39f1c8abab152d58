//! "Everything settles": from a state, without further faults, some way leads to the end.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;

use crate::state::{BATCHES, RowState, State};
use crate::{Action, Carillon, step};

/// More steps than any run of these small worlds needs; who needs more goes round in circles.
const FAR: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything is settled; the deadline may help.
    Settled,
    /// Everything is settled without the deadline and without another credit; or what is not waits for money that
    /// nobody has.
    SettledOrShort,
}

impl Goal {
    fn is_reached(self, model: &Carillon, state: &State) -> bool {
        is_done(model, state) || self == Goal::SettledOrShort && is_short(model, state)
    }

    fn may_use(self, action: Action) -> bool {
        let helps = matches!(action, Action::Deadline | Action::Credit);
        !action.is_fault() && (self == Goal::Settled || !helps)
    }
}

/// First by one way, and only if that one goes astray by every way.
pub fn reaches(model: &Carillon, start: &State, goal: Goal) -> bool {
    reaches_by_the_usual_way(model, start, goal) || reaches_by_any_way(model, start, goal)
}

/// Ways that meet a state known to be good end there, so a state costs one step.
fn reaches_by_the_usual_way(model: &Carillon, start: &State, goal: Goal) -> bool {
    let mut way = Vec::new();
    let mut state = start.clone();
    for _ in 0..FAR {
        let mark = fingerprint(&state);
        if goal.is_reached(model, &state) || model.drained(goal).contains(&mark) {
            way.push(mark);
            model.drained(goal).extend(way);
            return true;
        }
        way.push(mark);
        match next(model, &state, goal) {
            Some(after) => state = after,
            None => return false,
        }
    }
    false
}

fn reaches_by_any_way(model: &Carillon, start: &State, goal: Goal) -> bool {
    let mut seen = HashSet::from([fingerprint(start)]);
    let mut waiting = vec![start.clone()];
    while let Some(state) = waiting.pop() {
        if goal.is_reached(model, &state) {
            return true;
        }
        for after in without_faults(model, &state, goal) {
            if seen.insert(fingerprint(&after)) {
                waiting.push(after);
            }
        }
    }
    false
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.representative().hash(&mut hasher);
    hasher.finish()
}

/// Where the way without further faults ends, for the reader of a trace.
pub fn end_of(model: &Carillon, start: &State, goal: Goal) -> State {
    let mut state = start.clone();
    for _ in 0..FAR {
        match next(model, &state, goal) {
            Some(after) if !goal.is_reached(model, &state) => state = after,
            _ => break,
        }
    }
    state
}

fn next(model: &Carillon, state: &State, goal: Goal) -> Option<State> {
    without_faults(model, state, goal).next()
}

fn without_faults(model: &Carillon, state: &State, goal: Goal) -> impl Iterator<Item = State> {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions
        .into_iter()
        .filter(move |action| goal.may_use(*action))
        .filter_map(|action| model.next_state(state, action))
}

/// Every message settled, and all of it told.
fn is_done(model: &Carillon, state: &State) -> bool {
    (0..model.bounds.messages()).all(|message| state.rows[message].state.settled())
        && is_told(model, state)
}

/// Whatever is not settled waits for money, its address kept, and every credit is spent.
pub fn is_short(model: &Carillon, state: &State) -> bool {
    let bounds = &model.bounds;
    let settled_or_short = |message: usize| {
        let row = &state.rows[message];
        let kept = state.books[bounds.batch_of(message)].block;
        row.state.settled() || (row.state == RowState::Queued && row.attempt == 0 && kept)
    };
    bounds.money
        && !state.deadline_passed
        && state.account.available == 0
        && !is_done(model, state)
        && (0..bounds.messages()).all(settled_or_short)
        && is_told(model, state)
}

/// The plan closed, nothing held, nothing waiting to be told, and report and billing say what is true.
fn is_told(model: &Carillon, state: &State) -> bool {
    let bounds = &model.bounds;
    let detailed = (0..bounds.messages()).all(|message| {
        let settled = Some(state.rows[message].state).filter(|state| state.settled());
        state.details[message].settled == settled
    });
    let told = (0..bounds.batches()).all(|batch| {
        let truth = step::totals(model, state, batch);
        let line = &state.report[batch];
        let hold = &state.holds[batch];
        let billed = !bounds.money || (hold.posted == truth.posted() && hold.held == 0);
        line.heard && line.totals == truth && billed
    });
    let clean = (0..BATCHES)
        .all(|batch| !state.books[batch].block || step::has_open_rows(bounds, state, batch));
    let planned = step::is_plan_told(model, state);
    planned && detailed && told && clean && state.outbox.is_empty() && state.account.held == 0
}
