//! "Everything settles": from a state, without further faults, some way leads to the end.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;

use crate::state::{BATCHES, State};
use crate::{Carillon, step};

/// More steps than any run of these small worlds needs; who needs more goes round in circles.
const FAR: usize = 400;

/// First by one way, and only if that one goes astray by every way.
pub fn settles(model: &Carillon, start: &State) -> bool {
    settles_by_the_usual_way(model, start) || settles_by_any_way(model, start)
}

/// Ways that meet a state known to be good end there, so a state costs one step.
fn settles_by_the_usual_way(model: &Carillon, start: &State) -> bool {
    let mut way = Vec::new();
    let mut state = start.clone();
    for _ in 0..FAR {
        let mark = fingerprint(&state);
        if is_done(model, &state) || model.drained().contains(&mark) {
            way.push(mark);
            model.drained().extend(way);
            return true;
        }
        way.push(mark);
        match next(model, &state) {
            Some(after) => state = after,
            None => return false,
        }
    }
    false
}

fn settles_by_any_way(model: &Carillon, start: &State) -> bool {
    let mut seen = HashSet::from([fingerprint(start)]);
    let mut waiting = vec![start.clone()];
    while let Some(state) = waiting.pop() {
        if is_done(model, &state) {
            return true;
        }
        for after in without_faults(model, &state) {
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
pub fn end_of(model: &Carillon, start: &State) -> State {
    let mut state = start.clone();
    for _ in 0..FAR {
        match next(model, &state) {
            Some(after) if !is_done(model, &state) => state = after,
            _ => break,
        }
    }
    state
}

fn next(model: &Carillon, state: &State) -> Option<State> {
    without_faults(model, state).next()
}

fn without_faults(model: &Carillon, state: &State) -> impl Iterator<Item = State> {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions
        .into_iter()
        .filter(|action| !action.is_fault())
        .filter_map(|action| model.next_state(state, action))
}

/// Every message settled, nothing held, nothing waiting to be told, and report and billing say what is true.
pub fn is_done(model: &Carillon, state: &State) -> bool {
    let bounds = &model.bounds;
    let settled = (0..bounds.messages()).all(|message| state.rows[message].state.settled());
    let detailed = (0..bounds.messages())
        .all(|message| state.details[message].settled == Some(state.rows[message].state));
    let told = (0..bounds.batches()).all(|batch| {
        let truth = step::totals(model, state, batch);
        let line = &state.report[batch];
        let hold = &state.holds[batch];
        let billed = !bounds.money || (hold.posted == truth.posted() && hold.held == 0);
        line.heard && line.totals == truth && billed
    });
    let clean = (0..BATCHES).all(|batch| !state.books[batch].block);
    settled && detailed && told && clean && state.outbox.is_empty() && state.account.held == 0
}
