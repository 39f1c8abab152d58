//! Claims: first attempts from a delivery, later attempts from the rows, and the sweep after the deadline.

use super::{batches, halts, record, used};
use crate::state::{Ask, Claim, Fate, Owner, RowState, State};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        if worker.claims.iter().any(|claim| claim.fate == Fate::OnTheWay) {
            out.push(Action::Arrive(slot));
            out.push(Action::GiveUp(slot));
        }
        if may_claim(model, state, slot) {
            out.push(Action::Claim(slot, false));
        }
        for batch in batches(model).filter(|batch| may_retry(model, state, slot, *batch)) {
            out.push(Action::Retry(slot, batch, false));
            if state.left.lost_answers > 0 {
                out.push(Action::Retry(slot, batch, true));
            }
        }
        if may_claim(model, state, slot) && state.left.lost_answers > 0 {
            out.push(Action::Claim(slot, true));
        }
    }
    for batch in batches(model).filter(|batch| may_sweep(model, state, *batch)) {
        out.push(Action::Sweep(batch));
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Claim(slot, late) => {
            if let Some(delivery) = &mut state.workers[slot].delivery {
                delivery.begun = model.without(Mutation::Claim);
                let batch = usize::from(delivery.batch);
                first_attempts(model, state, slot, batch, late);
            }
        }
        Action::Retry(slot, batch, late) => later_attempts(model, state, slot, batch, late),
        Action::Arrive(slot) => arrive(state, slot),
        Action::GiveUp(slot) => {
            state.workers[slot].claims.retain(|claim| claim.fate != Fate::OnTheWay)
        }
        Action::Sweep(batch) => sweep(model, state, batch),
        _ => {}
    }
}

fn passes_fence(model: &Carillon, state: &State, slot: usize) -> bool {
    let worker = &state.workers[slot];
    worker.up && (!worker.fenced || model.without(Mutation::EpochFence))
}

/// Rows of a claim that was given up hold their permits until they are read back, or a kill would leave more than
/// its share.
fn free_permits(model: &Carillon, state: &State, slot: usize) -> usize {
    let lost = |m: &usize| record::was_never_handed_over(model, state, slot, *m);
    let kept = match model.without(Mutation::PermitsAreKept) {
        true => 0,
        false => (0..model.bounds.messages()).filter(lost).count(),
    };
    model.bounds.permits.saturating_sub(state.workers[slot].claims.len() + kept)
}

fn may_claim(model: &Carillon, state: &State, slot: usize) -> bool {
    let Some(delivery) = state.workers[slot].delivery else { return false };
    let batch = usize::from(delivery.batch);
    let absent = |m: &usize| state.rows[*m].state == RowState::Absent;
    let mut absent = model.bounds.messages_of(batch).filter(absent).peekable();
    let exists = absent.peek().is_some();
    let settles = !absent.any(|m| may_be_sent(model, state, m));
    let asked = delivery.ask != Ask::Needed || settles;
    let whatever = model.without(Mutation::Claim) && !delivery.begun;
    let room = settles || free_permits(model, state, slot) > 0;
    passes_fence(model, state, slot) && (exists || whatever) && asked && room
}

/// Whether a claim may take the row: nothing ends it, and nobody paused it.
fn may_be_sent(model: &Carillon, state: &State, message: usize) -> bool {
    !state.deadline_passed
        && (model.without(Mutation::HaltAtClaim) || halts::known(model, state, message).is_none())
}

fn may_retry(model: &Carillon, state: &State, slot: usize, batch: usize) -> bool {
    if !passes_fence(model, state, slot) {
        return false;
    }
    let answered = state.workers[slot].answer.is_some_and(|(of, _)| usize::from(of) == batch);
    let in_hand = state.workers[slot].delivery.is_some_and(|held| usize::from(held.batch) == batch);
    let waits = !state.deadline_passed
        && state.books[batch].block
        && free_permits(model, state, slot) > 0
        && model.bounds.messages_of(batch).any(|m| is_due(model, state, m));
    waits || (answered && !(in_hand && may_claim(model, state, slot)))
}

fn is_due(model: &Carillon, state: &State, message: usize) -> bool {
    let row = &state.rows[message];
    let batch = model.bounds.batch_of(message);
    row.state == RowState::Queued
        && may_be_sent(model, state, message)
        && !model.without(Mutation::Retry)
        && (row.attempt > 0 || is_covered(model, state, batch))
}

fn is_covered(model: &Carillon, state: &State, batch: usize) -> bool {
    !model.bounds.money
        || model.without(Mutation::GrantCheck)
        || used(model, state, batch) < state.books[batch].granted
}

fn store_answer(state: &mut State, slot: usize, batch: usize) {
    if let Some((of, granted)) = state.workers[slot].answer
        && usize::from(of) == batch
    {
        state.books[batch].granted = state.books[batch].granted.max(granted);
        state.workers[slot].answer = None;
    }
}

fn first_attempts(model: &Carillon, state: &mut State, slot: usize, batch: usize, late: bool) {
    store_answer(state, slot, batch);
    for message in model.bounds.messages_of(batch) {
        if state.rows[message].state != RowState::Absent {
            if model.without(Mutation::Claim) {
                remember(state, slot, message);
            }
        } else if !may_be_sent(model, state, message) {
            let end = halts::end(model, state, message);
            state.rows[message].state = end.unwrap_or(RowState::Queued);
        } else if !is_covered(model, state, batch) {
            state.rows[message].state = RowState::Queued;
        } else if free_permits(model, state, slot) > 0 {
            take(model, state, slot, message);
        }
    }
    if late {
        delay(model, state, slot, batch);
    }
}

fn later_attempts(model: &Carillon, state: &mut State, slot: usize, batch: usize, late: bool) {
    store_answer(state, slot, batch);
    if state.deadline_passed || !state.books[batch].block {
        return;
    }
    for message in model.bounds.messages_of(batch) {
        if is_due(model, state, message) && free_permits(model, state, slot) > 0 {
            take(model, state, slot, message);
        }
    }
    if late {
        delay(model, state, slot, batch);
    }
}

fn take(model: &Carillon, state: &mut State, slot: usize, message: usize) {
    let swept = !state.rows.iter().any(|row| row.owner == Owner::Dead);
    let owner = match state.workers[slot].fenced {
        false => Owner::Slot(slot as u8),
        true if swept && model.without(Mutation::EpochFence) => Owner::Forgotten,
        true => Owner::Dead,
    };
    let row = &mut state.rows[message];
    row.state = RowState::Sending;
    row.attempt += 1;
    row.owner = owner;
    for claim in state.workers.iter_mut().flat_map(|worker| &mut worker.claims) {
        claim.stale |= usize::from(claim.message) == message;
    }
    remember(state, slot, message);
}

fn remember(state: &mut State, slot: usize, message: usize) {
    let attempt = state.rows[message].attempt;
    let claims = &mut state.workers[slot].claims;
    let (message, fate) = (message as u8, Fate::NotYetCalled);
    claims.push(Claim { message, attempt, stale: false, cleared: true, fate });
    claims.sort_unstable();
}

/// The commit took effect, but the worker does not know yet which rows are its own.
fn delay(model: &Carillon, state: &mut State, slot: usize, batch: usize) {
    state.left.lost_answers -= 1;
    let rows = model.bounds.messages_of(batch);
    for claim in &mut state.workers[slot].claims {
        if rows.contains(&usize::from(claim.message))
            && !claim.stale
            && claim.fate == Fate::NotYetCalled
        {
            claim.fate = Fate::OnTheWay;
        }
    }
    state.workers[slot].claims.sort_unstable();
}

fn arrive(state: &mut State, slot: usize) {
    for claim in &mut state.workers[slot].claims {
        if claim.fate == Fate::OnTheWay {
            claim.fate = Fate::NotYetCalled;
        }
    }
    state.workers[slot].claims.sort_unstable();
}

fn may_sweep(model: &Carillon, state: &State, batch: usize) -> bool {
    state.workers.iter().any(|worker| worker.up)
        && model.bounds.messages_of(batch).any(|m| swept(model, state, m).is_some())
}

/// How a queued row ends that nobody may send any more.
fn swept(model: &Carillon, state: &State, message: usize) -> Option<RowState> {
    let queued = state.rows[message].state == RowState::Queued;
    let sweeps = queued && (state.deadline_passed || !model.without(Mutation::HaltSettles));
    halts::end(model, state, message).filter(|_| sweeps)
}

fn sweep(model: &Carillon, state: &mut State, batch: usize) {
    for message in model.bounds.messages_of(batch) {
        if let Some(end) = swept(model, state, message) {
            state.rows[message].state = end;
            state.rows[message].owner = Owner::Nobody;
        }
    }
}
