//! Jobs on the broker: delivered to one worker, given to another when that one goes, acked when accepted.

use super::{accepted, batches, events, plan};
use crate::state::{Ask, Delivery, State};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        if let Some(delivery) = worker.delivery
            && may_ack(model, state, slot, usize::from(delivery.batch))
        {
            out.push(Action::Ack(slot));
        }
        if !worker.up || worker.fenced || worker.delivery.is_some() {
            continue;
        }
        for batch in batches(model).filter(|batch| state.ready[*batch] > 0) {
            out.push(Action::Receive(slot, batch));
        }
    }
}

pub fn offer_faults(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    let something_to_wipe = state.ready.iter().any(|ready| *ready > 0)
        || state.workers.iter().any(|worker| worker.delivery.is_some_and(|held| held.live))
        || state.outbox.iter().any(|event| event.queued.contains(&true));
    if state.left.wipes > 0 && something_to_wipe {
        out.push(Action::Wipe);
    }
    if state.left.repeats == 0 {
        return;
    }
    for batch in batches(model).filter(|batch| state.ready[*batch] == 1) {
        out.push(Action::RepeatJob(batch));
    }
    for (slot, worker) in state.workers.iter().enumerate() {
        if worker.delivery.is_some_and(|held| held.live) {
            out.push(Action::CutConnection(slot));
        }
    }
    events::offer_repeats(state, out);
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Receive(slot, batch) => receive(model, state, slot, batch),
        Action::Ack(slot) => ack(model, state, slot),
        Action::Wipe => wipe(state),
        Action::RepeatJob(batch) => {
            state.left.repeats -= 1;
            state.ready[batch] += 1;
        }
        Action::CutConnection(slot) => {
            state.left.repeats -= 1;
            give_back(state, slot);
        }
        Action::RepeatEvent(who, place) => {
            state.left.repeats -= 1;
            state.outbox[place].queued[who] = true;
        }
        _ => {}
    }
}

fn receive(model: &Carillon, state: &mut State, slot: usize, batch: usize) {
    state.ready[batch] -= 1;
    let early = model.without(Mutation::RecordBeforeAck) || model.without(Mutation::AckOrder);
    if model.without(Mutation::RecordBeforeAck) {
        state.books[batch].accepted_early = true;
    }
    let asks =
        model.bounds.money && !state.deadline_passed && (early || !accepted(model, state, batch));
    let ask = if asks { Ask::Needed } else { Ask::NotNeeded };
    let sealed = !state.deadline_passed;
    state.workers[slot].delivery =
        Some(Delivery { batch: batch as u8, live: !early, sealed, begun: false, ask });
}

/// The broker forgets that it gave this delivery out, and gives it out again.
pub fn give_back(state: &mut State, slot: usize) {
    if let Some(delivery) = &mut state.workers[slot].delivery
        && delivery.live
    {
        delivery.live = false;
        state.ready[usize::from(delivery.batch)] += 1;
    }
}

fn may_ack(model: &Carillon, state: &State, slot: usize, batch: usize) -> bool {
    let finished = !state.workers[slot]
        .claims
        .iter()
        .any(|c| model.bounds.batch_of(usize::from(c.message)) == batch);
    let recorded = super::every_row_exists(&model.bounds, state, batch);
    finished && recorded && accepted(model, state, batch)
}

fn ack(model: &Carillon, state: &mut State, slot: usize) {
    if let Some(delivery) = state.workers[slot].delivery.take() {
        let batch = usize::from(delivery.batch);
        if !plan::known_accepted(state, batch) {
            events::publish_again(model, state, batch);
        }
    }
}

fn wipe(state: &mut State) {
    state.left.wipes -= 1;
    state.ready = Default::default();
    for worker in &mut state.workers {
        if let Some(delivery) = &mut worker.delivery {
            delivery.live = false;
        }
    }
    for event in &mut state.outbox {
        event.queued = Default::default();
    }
    events::trim(state);
}
