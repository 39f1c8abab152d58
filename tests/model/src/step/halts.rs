//! Halts and opt-outs: heard in any order, obeyed by every claim from then on, and by calls once what cleared them is
//! too old.

use crate::state::{Order, RowState, State};
use crate::{Action, Carillon, Mutation};

pub fn offer_hearing(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    let unheard = state.orders.unheard.iter().enumerate().filter(|(_, unheard)| **unheard);
    out.extend(unheard.map(|(place, _)| Action::Hear(place, model.bounds.orders[place])));
}

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    let orders = &state.orders;
    let given = usize::from(orders.given);
    let stops = given > 0 && model.bounds.orders[given - 1] != Order::Resume;
    let passed = !orders.unheard.contains(&true) || model.without(Mutation::AnswerAtMark);
    if stops && passed && !orders.in_effect {
        out.push(Action::InEffect);
    }
    if let Some(order) = model.bounds.orders.get(given) {
        out.push(Action::Give(given, *order));
    }
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    let orders = &mut state.orders;
    match action {
        Action::Give(place, _) => {
            orders.given += 1;
            orders.unheard[place] = true;
            orders.in_effect = false;
        }
        Action::Hear(place, _) => {
            orders.unheard[place] = false;
            let version = place as u8 + 1;
            if version > orders.known || model.without(Mutation::HaltVersion) {
                orders.known = version;
            }
        }
        Action::InEffect => {
            orders.in_effect = true;
            for worker in &mut state.workers {
                worker.claims.iter_mut().for_each(|claim| claim.cleared = false);
                worker.claims.sort_unstable();
            }
        }
        _ => {}
    }
}

fn stopping(model: &Carillon, version: u8, message: usize) -> Option<Order> {
    let order = *model.bounds.orders.get(usize::from(version).checked_sub(1)?)?;
    order.stops(message).then_some(order)
}

/// What the dispatchers' database knows to stand in a message's way.
pub fn known(model: &Carillon, state: &State, message: usize) -> Option<Order> {
    stopping(model, state.orders.known, message)
}

/// Whoever gave the order may rely on it.
pub fn in_effect(model: &Carillon, state: &State, message: usize) -> Option<Order> {
    stopping(model, state.orders.given, message).filter(|_| state.orders.in_effect)
}

/// How a waiting row ends that will not be sent; None for one that may be, now or later. What somebody decided about
/// the whole campaign comes before the deadline. What cannot be known is never said to have ended otherwise.
pub fn end(model: &Carillon, state: &State, message: usize) -> Option<RowState> {
    let cancel_first = !state.deadline_passed || !model.without(Mutation::CancelFirst);
    let end = match known(model, state, message) {
        Some(Order::Cancel) if cancel_first => RowState::Cancelled,
        _ if state.deadline_passed => RowState::Expired,
        Some(Order::OptOut) => RowState::Suppressed,
        _ => return None,
    };
    Some(if state.rows[message].doubtful { RowState::Unknown } else { end })
}

/// Whether a row that waited at a halt in effect went elsewhere than the halt allows.
pub fn is_broken(model: &Carillon, last: &State, message: usize, after: RowState) -> bool {
    let row = &last.rows[message];
    let waits = matches!(row.state, RowState::Absent | RowState::Queued);
    let (Some(order), true) = (in_effect(model, last, message), waits) else { return false };
    match after {
        RowState::Absent | RowState::Queued => false,
        RowState::Unknown | RowState::Delivered => !row.doubtful,
        RowState::Cancelled => order != Order::Cancel,
        RowState::Suppressed => order != Order::OptOut,
        RowState::Expired => order == Order::Cancel,
        RowState::Sending | RowState::Sent | RowState::Failed => true,
    }
}
