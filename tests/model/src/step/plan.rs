//! Plan and release (the segment-evaluator), and what the world does by itself.

use super::{batches, events, has_room};
use crate::state::{Progress, State, Worker};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for batch in batches(model) {
        if may_release(model, state, batch) {
            out.push(Action::Release(batch));
        }
    }
    if has_room(model, state) {
        offer_steps(model, state, out);
    }
    if state.left.credits > 0 {
        out.push(Action::Credit);
    }
    if model.bounds.deadline && !state.deadline_passed {
        out.push(Action::Deadline);
    }
}

fn offer_steps(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    let open = !is_closed(model, state);
    if open {
        out.push(Action::Plan);
    }
    match state.plan.read {
        Some(_) => out.push(Action::PlanLate),
        None if open && model.bounds.planners => out.push(Action::ReadCursor),
        None => {}
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Plan => plan(model, state, state.plan.progress),
        Action::ReadCursor => state.plan.read = Some(state.plan.progress),
        Action::PlanLate => {
            if let Some(read) = state.plan.read.take()
                && (read == state.plan.progress || model.without(Mutation::CursorAgain))
            {
                plan(model, state, read);
            }
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

fn is_closed(model: &Carillon, state: &State) -> bool {
    usize::from(state.plan.progress.cursor) == model.bounds.pages().len()
}

/// One transaction: the batch, the cursor with its counts, and the events. A batch that is there already has the id
/// of this one, so the transaction fails.
fn plan(model: &Carillon, state: &mut State, read: Progress) {
    let page = model.bounds.pages()[usize::from(read.cursor)];
    if let Some(batch) = page.batch {
        if state.plan.batches[batch] {
            return;
        }
        state.plan.batches[batch] = true;
    }
    state.plan.progress = Progress {
        cursor: read.cursor + 1,
        planned: read.planned + model.bounds.planned_by(&page) as u8,
        skipped: read.skipped + page.skipped as u8,
    };
    events::announce(model, state, read.cursor);
    if model.bounds.planners && is_closed(model, state) {
        events::announce_end(model, state);
    }
}

/// The plan is closed, and the report was told of each of its steps and of the end.
pub fn is_told(model: &Carillon, state: &State) -> bool {
    is_closed(model, state)
        && every_step_is_heard(model, state)
        && (state.told.end.is_some() || !model.bounds.planners)
}

fn every_step_is_heard(model: &Carillon, state: &State) -> bool {
    let pages = model.bounds.pages().len();
    state.told.steps[..pages].iter().all(|heard| *heard)
}

/// Batches and counts are stored together; and the totals that close the plan are the audience's, and those of the
/// steps once all of them are heard.
pub fn adds_up(model: &Carillon, state: &State) -> bool {
    let bounds = &model.bounds;
    let stored = (0..bounds.batches()).filter(|batch| state.plan.batches[*batch]);
    let stored: usize = stored.map(|batch| bounds.sizes[batch]).sum();
    let heard = bounds.pages().into_iter().zip(state.told.steps).filter(|(_, heard)| *heard);
    let (planned, skipped) = heard.fold((0, 0), |(planned, skipped), (page, _)| {
        (planned + bounds.planned_by(&page), skipped + page.skipped)
    });
    let ends = |end: Progress| {
        usize::from(end.planned + end.skipped) == bounds.matched()
            && (!every_step_is_heard(model, state)
                || (planned, skipped) == (end.planned.into(), end.skipped.into()))
    };
    stored == usize::from(state.plan.progress.planned) && state.told.end.is_none_or(ends)
}

/// The first time, or when the released job is overtaken: its queue is empty, consumers live, and whoever holds a
/// delivery has cut it long ago. What the evaluator knows of acceptance it has from the totals, by the report's rule.
fn may_release(model: &Carillon, state: &State, batch: usize) -> bool {
    if !state.plan.batches[batch] {
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
