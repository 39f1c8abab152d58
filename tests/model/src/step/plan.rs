//! Plan and release (the segment-evaluator), and what the world does by itself.

use super::{batches, events, has_room};
use crate::state::{State, Worker};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for batch in batches(model) {
        if may_release(model, state, batch) {
            out.push(Action::Release(batch));
        }
    }
    if usize::from(state.planned) < model.bounds.batches() && has_room(model, state) {
        out.push(Action::Plan(usize::from(state.planned)));
    }
    if state.left.credits > 0 {
        out.push(Action::Credit);
    }
    if model.bounds.deadline && !state.deadline_passed {
        out.push(Action::Deadline);
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Plan(batch) => {
            state.planned += 1;
            events::announce(model, state, batch);
        }
        Action::Release(batch) => {
            state.released[batch] = true;
            state.ready[batch] += 1;
        }
        Action::Credit => {
            state.left.credits -= 1;
            state.account.available += 1;
            state.account.credited += 1;
        }
        Action::Deadline => state.deadline_passed = true,
        _ => {}
    }
}

/// The first time, or when the released job is overtaken: its queue is empty, consumers live, and whoever holds a
/// delivery has cut it long ago. What the evaluator knows of acceptance it has from the totals, by the report's rule.
fn may_release(model: &Carillon, state: &State, batch: usize) -> bool {
    if usize::from(state.planned) <= batch {
        return false;
    }
    if !state.released[batch] {
        return true;
    }
    let in_hand = |slot: &Worker| {
        slot.up
            && !slot.fenced
            && slot.delivery.is_some_and(|held| usize::from(held.batch) == batch)
    };
    !model.without(Mutation::ReleaseAgain)
        && !known_accepted(state, batch)
        && state.ready[batch] == 0
        && state.workers.iter().any(|worker| worker.up)
        && !state.workers.iter().any(in_hand)
}

/// Whether the evaluator and the report know that a batch is accepted.
pub fn known_accepted(state: &State, batch: usize) -> bool {
    state.report[batch].totals.accepted
}
