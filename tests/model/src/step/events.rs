//! Outbox, relay, inbox and marks.

use super::{hold, new_event};
use crate::state::{
    BILLING, Changes, Detail, Event, Line, News, REPORT, RowState, SUBSCRIBERS, State, Totals,
};
use crate::{Action, Carillon, Mutation};

pub fn offer(state: &State, out: &mut Vec<Action>) {
    for (place, event) in state.outbox.iter().enumerate() {
        for who in 0..SUBSCRIBERS {
            if event.queued[who] {
                out.push(Action::Handle(who, place));
            }
        }
    }
    // The relay takes the lowest row first; a row that was lost is overtaken, and goes again.
    let missing = |event: &Event| {
        event.stored && (0..SUBSCRIBERS).any(|who| !event.handled[who] && !event.queued[who])
    };
    if let Some(place) = state.outbox.iter().position(missing) {
        out.push(Action::Publish(place));
    }
}

pub fn offer_repeats(state: &State, out: &mut Vec<Action>) {
    for (place, event) in state.outbox.iter().enumerate() {
        for who in 0..SUBSCRIBERS {
            if event.handled[who] && !event.queued[who] && subscribes(who, event.news) {
                out.push(Action::RepeatEvent(who, place));
            }
        }
    }
}

fn subscribes(who: usize, news: News) -> bool {
    who == REPORT || matches!(news, News::Totals(..))
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Publish(place) => {
            if model.without(Mutation::TotalsAtCommit) {
                count_again(model, state, place);
            }
            let event = &mut state.outbox[place];
            for who in 0..SUBSCRIBERS {
                event.queued[who] |= !event.handled[who];
            }
            event.stored &= !model.without(Mutation::Marks);
        }
        Action::Handle(who, place) => {
            let event = &mut state.outbox[place];
            event.queued[who] = false;
            if !event.handled[who] {
                event.handled[who] = true;
                let (batch, news) = (usize::from(event.batch), event.news);
                handle(model, state, who, batch, news);
            }
        }
        _ => {}
    }
    trim(state);
}

/// A row leaves when every subscriber's mark passed it: it and all before it are handled. A copy still queued would
/// be acked unread, so it goes too. Both producers' streams share the vector and pass independently.
pub fn trim(state: &mut State) {
    let mut blocked = [false; 2];
    state.outbox.retain(|event| {
        let stream = usize::from(!matches!(event.news, News::Totals(..)));
        if !event.stored {
            return event.queued.contains(&true);
        }
        blocked[stream] |= event.handled.contains(&false);
        blocked[stream]
    });
}

fn count_again(model: &Carillon, state: &mut State, place: usize) {
    let batch = usize::from(state.outbox[place].batch);
    let now = totals(model, state, batch);
    if let News::Totals(_, totals, _) = &mut state.outbox[place].news {
        *totals = now;
    }
}

pub fn totals(model: &Carillon, state: &State, batch: usize) -> Totals {
    let rows = model.bounds.messages_of(batch).map(|message| state.rows[message].state);
    Totals { accepted: super::accepted(model, state, batch), ..count(rows) }
}

fn count(messages: impl Iterator<Item = RowState>) -> Totals {
    let mut totals = Totals::default();
    for state in messages {
        let counter = match state {
            RowState::Sent => &mut totals.sent,
            RowState::Delivered => &mut totals.delivered,
            RowState::Failed => &mut totals.failed,
            RowState::Expired => &mut totals.expired,
            RowState::Cancelled => &mut totals.cancelled,
            RowState::Suppressed => &mut totals.suppressed,
            RowState::Unknown => &mut totals.unknown,
            RowState::Absent | RowState::Queued | RowState::Sending => &mut totals.open,
        };
        *counter += 1;
    }
    totals
}

/// The totals of a batch that has changed and what was settled, in the transaction that changed it.
pub fn publish(model: &Carillon, state: &mut State, batch: usize, changes: Changes) {
    let news = News::Totals(state.books[batch].version, totals(model, state, batch), changes);
    write(model, state, batch, news);
}

/// A redelivered batch that is accepted has its totals published again, unless they still wait in the outbox.
pub fn publish_again(model: &Carillon, state: &mut State, batch: usize) {
    let version = state.books[batch].version;
    let waits = |news: News| matches!(news, News::Totals(waiting, ..) if waiting == version);
    if !state.outbox.iter().any(|event| usize::from(event.batch) == batch && waits(event.news)) {
        publish(model, state, batch, Changes::default());
    }
}

/// The report's totals are a count of its messages once it has heard what came before them; and of the rows as they
/// are, once it has heard everything.
pub fn adds_up(model: &Carillon, state: &State, batch: usize) -> bool {
    let line = &state.report[batch];
    let unheard = state.outbox.iter().filter(|event| !event.handled[REPORT]);
    let unheard = unheard.filter(|event| usize::from(event.batch) == batch);
    let next = unheard.filter_map(|event| event.news.version()).min();
    let details = model.bounds.messages_of(batch).map(|message| state.details[message].settled);
    let counted = count(details.map(|settled| settled.unwrap_or(RowState::Absent)));
    let agrees = Totals { accepted: line.totals.accepted, ..counted } == line.totals;
    match next {
        _ if line.version == 0 => true,
        Some(next) if next < line.version => true,
        Some(_) => agrees,
        None => agrees && line.totals == totals(model, state, batch),
    }
}

/// A step of the plan. The row names a batch only to be like the others.
pub fn announce(model: &Carillon, state: &mut State, page: u8) {
    write(model, state, 0, News::Planned(page));
}

pub fn announce_end(model: &Carillon, state: &mut State) {
    write(model, state, 0, News::RunPlanned(state.plan.progress));
}

fn write(model: &Carillon, state: &mut State, batch: usize, news: News) {
    if model.bounds.lag > 0 {
        state.outbox.push(new_event(
            batch,
            news,
            [BILLING, REPORT].map(|who| subscribes(who, news)),
        ));
        return;
    }
    for who in [BILLING, REPORT] {
        if subscribes(who, news) {
            handle(model, state, who, batch, news);
        }
    }
}

fn handle(model: &Carillon, state: &mut State, who: usize, batch: usize, news: News) {
    match news {
        News::Planned(page) => {
            let page = usize::from(page);
            state.told.steps[page] = true;
            if let Some(planned) = model.bounds.pages()[page].batch {
                state.report[planned].heard = true;
            }
        }
        News::RunPlanned(end) => state.told.end = Some(end),
        News::Totals(version, totals, _) if who == BILLING => {
            hold::settle(model, state, batch, version, &totals)
        }
        News::Totals(version, totals, changes) => {
            let line = &mut state.report[batch];
            let newest = version > line.version;
            if newest || model.without(Mutation::TotalsVersion) {
                *line = Line { heard: true, version, totals };
            }
            if newest || !model.without(Mutation::DetailsOfEveryEvent) {
                apply_changes(model, state, version, &changes);
            }
        }
    }
}

/// Changes come from every event, whatever its totals are worth; a row keeps its own version.
fn apply_changes(model: &Carillon, state: &mut State, version: u8, changes: &Changes) {
    for (detail, change) in state.details.iter_mut().zip(changes) {
        if change.is_some() && (version > detail.version || model.without(Mutation::DetailVersion))
        {
            *detail = Detail { settled: *change, version };
        }
    }
}
