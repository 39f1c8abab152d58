//! One file for each part of the protocol: what it offers in a state, and what it does.

mod broker;
mod call;
mod claim;
mod events;
mod halts;
mod hold;
mod plan;
mod record;
mod workers;

use crate::state::{BATCHES, Changes, Event, News, RowState, SUBSCRIBERS, State};
use crate::{Action, Bounds, Carillon, Mutation};

pub use events::{adds_up as report_adds_up, totals};
pub use plan::{adds_up as plan_adds_up, is_told as is_plan_told};

/// In the order in which a system without further faults gets on: what is furthest along first.
pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    events::offer(state, out);
    halts::offer_hearing(model, state, out);
    if has_room(model, state) {
        record::offer(model, state, out);
    }
    call::offer(model, state, out);
    workers::offer(model, state, out);
    hold::offer(model, state, out);
    if has_room(model, state) {
        claim::offer(model, state, out);
    }
    broker::offer(model, state, out);
    plan::offer(model, state, out);
    halts::offer(model, state, out);
    workers::offer_faults(state, out);
    broker::offer_faults(model, state, out);
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Plan
        | Action::ReadCursor
        | Action::PlanLate
        | Action::Release(_)
        | Action::Credit
        | Action::Deadline => plan::apply(model, state, action),
        Action::Give(..) | Action::Hear(..) | Action::InEffect => {
            halts::apply(model, state, action)
        }
        Action::Receive(..)
        | Action::Ack(_)
        | Action::Wipe
        | Action::RepeatJob(_)
        | Action::CutConnection(_)
        | Action::RepeatEvent(..) => broker::apply(model, state, action),
        Action::Hold(slot, batch) => hold::apply(model, state, slot, batch),
        Action::Claim(..)
        | Action::Retry(..)
        | Action::Arrive(_)
        | Action::GiveUp(_)
        | Action::Sweep(_) => claim::apply(model, state, action),
        Action::Call(..) | Action::GiveBack(..) | Action::Lapse(..) => {
            call::apply(model, state, action)
        }
        Action::Record(..) | Action::ReadBack(_) | Action::StoreBlock(_) | Action::Evidence(_) => {
            record::apply(model, state, action)
        }
        Action::NewEpoch(_)
        | Action::Takeover(_)
        | Action::Restart(_)
        | Action::Kill(_)
        | Action::DeclareDead(_) => workers::apply(model, state, action),
        Action::Publish(_) | Action::Handle(..) => events::apply(model, state, action),
    }
}

/// What every transaction on messages does before it commits: drop a block nobody needs, raise the version, write
/// the event. A change that leaves the totals as they were would only add an event that says nothing.
pub fn commit(model: &Carillon, last: &State, next: &mut State) {
    for batch in 0..model.bounds.batches() {
        if next.books[batch].block
            && !has_open_rows(&model.bounds, next, batch)
            && next.rows != last.rows
        {
            next.books[batch].block = false;
        }
        let now = totals(model, next, batch);
        if now != totals(model, last, batch) {
            next.books[batch].version += 1;
            let changes = changes(model, last, next, batch);
            events::publish(model, next, batch, changes);
        }
    }
    for message in 0..model.bounds.messages() {
        let (before, after) = (&last.rows[message], next.rows[message]);
        if before.state.settled()
            && before.state != after.state
            && !before.state.may_become(after.state)
        {
            next.breach.reopened = true;
        }
        next.breach.not_halted |= halts::is_broken(model, last, message, after.state);
    }
    next.renumber_versions(|batch| model.bounds.messages_of(batch));
}

fn changes(model: &Carillon, last: &State, next: &State, batch: usize) -> Changes {
    let mut changes = Changes::default();
    for message in model.bounds.messages_of(batch) {
        let state = next.rows[message].state;
        if state.settled() && state != last.rows[message].state {
            changes[message] = Some(state);
        }
    }
    changes
}

/// Events may lag only so far, or the world would not be small.
fn has_room(model: &Carillon, state: &State) -> bool {
    model.bounds.lag == 0 || state.outbox.len() < model.bounds.lag
}

fn every_row_exists(bounds: &Bounds, state: &State, batch: usize) -> bool {
    bounds.messages_of(batch).all(|m| state.rows[m].state != RowState::Absent)
}

pub fn has_open_rows(bounds: &Bounds, state: &State, batch: usize) -> bool {
    bounds.messages_of(batch).any(|m| !state.rows[m].state.settled())
}

/// Every recipient has a row, and whoever comes later can finish what is open.
fn accepted(model: &Carillon, state: &State, batch: usize) -> bool {
    if model.without(Mutation::RecordBeforeAck) {
        return state.books[batch].accepted_early;
    }
    every_row_exists(&model.bounds, state, batch)
        && (state.books[batch].block
            || model.without(Mutation::BlockBeforeAck)
            || !has_open_rows(&model.bounds, state, batch))
}

/// The units that rows have taken from the batch's grant.
pub fn used(model: &Carillon, state: &State, batch: usize) -> i8 {
    if !model.bounds.money {
        return 0;
    }
    let taken = |m: usize| {
        let row = &state.rows[m];
        match row.state {
            RowState::Sending | RowState::Sent | RowState::Delivered | RowState::Unknown => true,
            RowState::Queued => row.attempt > 0,
            _ => false,
        }
    };
    model.bounds.messages_of(batch).filter(|m| taken(*m)).count() as i8
}

fn new_event(batch: usize, news: News, subscribers: [bool; SUBSCRIBERS]) -> Event {
    Event {
        batch: batch as u8,
        news,
        stored: true,
        queued: [false; SUBSCRIBERS],
        handled: subscribers.map(|wanted| !wanted),
    }
}

fn batches(model: &Carillon) -> std::ops::Range<usize> {
    0..model.bounds.batches().min(BATCHES)
}
