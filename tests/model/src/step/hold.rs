//! `Hold`: one call a batch, and again while it waits for money. Billing's side and the arrival of totals.

use super::{batches, every_row_exists, halts, used};
use crate::state::{Ask, RowState, State, Totals};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    if !model.bounds.money {
        return;
    }
    for (slot, worker) in state.workers.iter().enumerate() {
        if !worker.up || worker.answer.is_some() {
            continue;
        }
        for batch in batches(model) {
            let for_delivery = worker
                .delivery
                .is_some_and(|held| usize::from(held.batch) == batch && held.ask == Ask::Needed);
            if for_delivery || may_ask_again(model, state, batch) {
                out.push(Action::Hold(slot, batch));
            }
        }
    }
}

/// Rows of the batch wait for money, and billing would answer more than is known.
fn may_ask_again(model: &Carillon, state: &State, batch: usize) -> bool {
    let book = &state.books[batch];
    let hold = &state.holds[batch];
    let waits = model.bounds.messages_of(batch).any(|m| {
        state.rows[m].state == RowState::Queued
            && state.rows[m].attempt == 0
            && halts::known(model, state, m).is_none()
    });
    let more = hold.granted > book.granted || raise(model, state, batch) > 0;
    waits
        && !model.without(Mutation::AskAgain)
        && book.block
        && every_row_exists(&model.bounds, state, batch)
        && used(model, state, batch) >= book.granted
        && more
}

fn raise(model: &Carillon, state: &State, batch: usize) -> i8 {
    let hold = &state.holds[batch];
    if hold.closed && !model.without(Mutation::ClosedIsRemembered) {
        return 0;
    }
    let wanted = model.bounds.sizes[batch] as i8;
    let missing =
        if model.without(Mutation::MonotoneHold) { wanted } else { wanted - hold.granted };
    missing.min(state.account.available)
}

pub fn apply(model: &Carillon, state: &mut State, slot: usize, batch: usize) {
    let raised = raise(model, state, batch);
    state.account.available -= raised;
    state.account.held += raised;
    let hold = &mut state.holds[batch];
    if model.without(Mutation::MonotoneHold) {
        hold.granted = raised;
        hold.held = raised;
    } else {
        hold.granted += raised;
        hold.held += raised;
    }
    let worker = &mut state.workers[slot];
    worker.answer = Some((batch as u8, hold.granted));
    if let Some(delivery) = &mut worker.delivery
        && usize::from(delivery.batch) == batch
        && delivery.ask == Ask::Needed
    {
        delivery.ask = Ask::Done;
    }
}

/// The newest totals of a batch settle its hold: the difference is posted, and what is not needed goes back at once.
pub fn settle(model: &Carillon, state: &mut State, batch: usize, version: u8, totals: &Totals) {
    if !model.bounds.money {
        return;
    }
    let hold = &mut state.holds[batch];
    if version <= hold.version && !model.without(Mutation::TotalsVersion) {
        return;
    }
    hold.version = version;
    hold.closed |= totals.closed();
    let difference = totals.posted() - hold.posted;
    hold.posted += difference;
    hold.held -= difference;
    state.account.held -= difference;
    state.account.spent += difference;
    let excess = (hold.held - totals.open).max(0);
    hold.held -= excess;
    state.account.held -= excess;
    state.account.available += excess;
}
