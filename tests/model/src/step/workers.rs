//! Workers: killed, restarted, declared dead while they run, and what is taken over from them.

use super::{batches, broker, has_room};
use crate::state::{Fate, Owner, RowState, State, Worker};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        if worker.up && worker.fenced {
            out.push(Action::NewEpoch(slot));
        }
    }
    if has_room(model, state) {
        for batch in batches(model) {
            if model.bounds.messages_of(batch).any(|m| state.rows[m].owner == Owner::Dead) {
                out.push(Action::Takeover(batch));
            }
        }
    }
    for (slot, worker) in state.workers.iter().enumerate() {
        if !worker.up {
            out.push(Action::Restart(slot));
        }
    }
}

pub fn offer_faults(state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        if worker.up && state.left.kills > 0 {
            out.push(Action::Kill(slot));
        }
        if worker.up && !worker.fenced && state.left.zombies > 0 {
            out.push(Action::DeclareDead(slot));
        }
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Kill(slot) => {
            state.left.kills -= 1;
            broker::give_back(state, slot);
            state.workers[slot] = Worker::default();
            disown(state, slot);
        }
        Action::DeclareDead(slot) => {
            state.left.zombies -= 1;
            state.workers[slot].fenced = true;
            disown(state, slot);
        }
        Action::Restart(slot) => state.workers[slot].up = true,
        Action::NewEpoch(slot) => new_epoch(model, state, slot),
        Action::Takeover(batch) => takeover(model, state, batch),
        _ => {}
    }
}

fn disown(state: &mut State, slot: usize) {
    for row in &mut state.rows {
        if row.owner == Owner::Slot(slot as u8) {
            row.owner = Owner::Dead;
        }
    }
}

/// Beats of the new epoch say nothing about claims of the old one, so none of those is called for any more.
fn new_epoch(model: &Carillon, state: &mut State, slot: usize) {
    let worker = &mut state.workers[slot];
    worker.fenced = false;
    for claim in &mut worker.claims {
        if !claim.fate.finished() && !model.without(Mutation::OldClaims) {
            claim.fate = Fate::GivenBack;
        }
    }
    worker.claims.sort_unstable();
}

fn takeover(model: &Carillon, state: &mut State, batch: usize) {
    let late = state.deadline_passed;
    for message in model.bounds.messages_of(batch) {
        let row = &mut state.rows[message];
        if row.owner == Owner::Dead && row.state == RowState::Sending {
            let again = model.bounds.idempotent && !late;
            row.state = if again { RowState::Queued } else { RowState::Unknown };
            row.doubtful |= model.bounds.idempotent;
            row.owner = Owner::Nobody;
        }
    }
}
