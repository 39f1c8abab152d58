//! Records: only the claim that a row still carries may write it. Read-back, the stored block, and evidence.

use super::{every_row_exists, has_open_rows};
use crate::state::{Claim, Fate, Gate, Owner, Row, RowState, State};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        if worker.claims.iter().any(|claim| claim.fate.finished()) {
            out.push(Action::Record(slot, false));
            if state.left.lost_answers > 0 {
                out.push(Action::Record(slot, true));
            }
        }
        if (0..model.bounds.messages()).any(|m| was_never_handed_over(model, state, slot, m)) {
            out.push(Action::ReadBack(slot));
        }
        if may_store_block(model, state, slot) {
            out.push(Action::StoreBlock(slot));
        }
    }
    if state.left.receipts > 0 {
        let told = (0..model.bounds.messages()).filter(|m| after_evidence(state, *m).is_some());
        out.extend(told.map(Action::Evidence));
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Record(slot, lost) => record(model, state, slot, lost),
        Action::ReadBack(slot) => {
            for message in 0..model.bounds.messages() {
                if was_never_handed_over(model, state, slot, message) {
                    undo(&mut state.rows[message]);
                }
            }
        }
        Action::StoreBlock(slot) => {
            if let Some(delivery) = state.workers[slot].delivery {
                state.books[usize::from(delivery.batch)].block = true;
            }
        }
        Action::Evidence(message) => {
            state.left.receipts -= 1;
            if let Some(known) = after_evidence(state, message) {
                state.rows[message].state = known;
                state.rows[message].owner = Owner::Nobody;
            }
        }
        _ => {}
    }
}

fn undo(row: &mut Row) {
    row.state = RowState::Queued;
    row.attempt -= 1;
    row.owner = Owner::Nobody;
}

fn record(model: &Carillon, state: &mut State, slot: usize, lost: bool) {
    let claims = state.workers[slot].claims.clone();
    for claim in claims.iter().filter(|claim| claim.fate.finished()) {
        if is_mine(model, state, slot, claim) {
            write(model, state, claim);
        }
    }
    if lost {
        state.left.lost_answers -= 1;
    } else {
        state.workers[slot].claims.retain(|claim| !claim.fate.finished());
    }
}

fn is_mine(model: &Carillon, state: &State, slot: usize, claim: &Claim) -> bool {
    let row = &state.rows[usize::from(claim.message)];
    if model.without(Mutation::EpochRecord) {
        return true;
    }
    if model.without(Mutation::ClaimNumber) && row.state == RowState::Sending {
        return row.owner == Owner::Slot(slot as u8) && row.attempt == claim.attempt;
    }
    !claim.stale
}

fn write(model: &Carillon, state: &mut State, claim: &Claim) {
    let late = state.deadline_passed;
    let row = &mut state.rows[usize::from(claim.message)];
    match row.state {
        RowState::Sending => over_sending(model, row, claim.fate, late),
        RowState::Unknown => over_unknown(model, row, claim.fate),
        _ if row.state.settled() && model.without(Mutation::RecordState) => {
            over_sending(model, row, claim.fate, late)
        }
        _ => return,
    }
    row.owner = Owner::Nobody;
}

fn over_sending(model: &Carillon, row: &mut Row, fate: Fate, late: bool) {
    match fate {
        Fate::Sent => row.state = RowState::Sent,
        Fate::Permanent => row.state = RowState::Failed,
        Fate::GivenBack => undo(row),
        Fate::Transient if late => {
            row.state = if row.doubtful { RowState::Unknown } else { RowState::Expired }
        }
        Fate::Transient => row.state = RowState::Queued,
        Fate::Doubt if model.bounds.idempotent && !late => {
            row.state = RowState::Queued;
            row.doubtful = true;
        }
        Fate::Doubt => row.state = RowState::Unknown,
        Fate::OnTheWay | Fate::NotYetCalled => {}
    }
}

/// Block and money are gone, so nothing is tried again; and one attempt that was not taken says nothing about the
/// attempt that made the row doubtful.
fn over_unknown(model: &Carillon, row: &mut Row, fate: Fate) {
    let known = !row.doubtful || model.without(Mutation::DoubtIsKept);
    match fate {
        Fate::Sent => row.state = RowState::Sent,
        Fate::Permanent => row.state = RowState::Failed,
        Fate::Transient | Fate::GivenBack if known => row.state = RowState::Failed,
        _ => {}
    }
}

/// Evidence only raises the rank, so it may come before the record; and it tells an `unknown` that it failed.
fn after_evidence(state: &State, message: usize) -> Option<RowState> {
    let taken = state.gates[message] == Gate::Accepted;
    match state.rows[message].state {
        RowState::Queued | RowState::Sending | RowState::Unknown | RowState::Sent if taken => {
            Some(RowState::Delivered)
        }
        RowState::Unknown => Some(RowState::Failed),
        _ => None,
    }
}

/// A claim that was committed, and whose answer never came and never will.
pub fn was_never_handed_over(model: &Carillon, state: &State, slot: usize, message: usize) -> bool {
    let row = &state.rows[message];
    let in_memory = |claim: &Claim| {
        let counts = claim.fate != Fate::OnTheWay || !model.without(Mutation::ClaimIsOver);
        usize::from(claim.message) == message && !claim.stale && counts
    };
    state.workers[slot].up
        && row.state == RowState::Sending
        && row.owner == Owner::Slot(slot as u8)
        && !state.workers[slot].claims.iter().any(in_memory)
}

/// Once a delivery shows open rows that it will not finish itself.
fn may_store_block(model: &Carillon, state: &State, slot: usize) -> bool {
    let worker = &state.workers[slot];
    let Some(delivery) = worker.delivery else { return false };
    let batch = usize::from(delivery.batch);
    let others = |m: usize| {
        !state.rows[m].state.settled()
            && !worker.claims.iter().any(|claim| usize::from(claim.message) == m && !claim.stale)
    };
    let unfinished = model.bounds.messages_of(batch).any(others)
        || (model.without(Mutation::BlockCheck) && !has_open_rows(&model.bounds, state, batch));
    delivery.sealed
        && !state.books[batch].block
        && !model.without(Mutation::BlockBeforeAck)
        && every_row_exists(&model.bounds, state, batch)
        && unfinished
}
