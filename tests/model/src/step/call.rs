//! The call: checked just before, never made for anything but a claim, and its outcome kept in memory.

use super::halts;
use crate::state::{Claim, Fate, Gate, State};
use crate::{Action, Carillon, Mutation};

pub fn offer(model: &Carillon, state: &State, out: &mut Vec<Action>) {
    for (slot, worker) in state.workers.iter().enumerate() {
        for (place, claim) in worker.claims.iter().enumerate() {
            if claim.fate != Fate::NotYetCalled {
                continue;
            }
            // The query of everything in hand bars a message before its clearance is too old.
            let barred = halts::known(model, state, usize::from(claim.message)).is_some();
            let may_call = may_call(model, state, slot, claim);
            if barred || !may_call {
                out.push(Action::GiveBack(slot, place));
            }
            if !may_call {
                continue;
            }
            out.push(Action::Call(slot, place, Fate::Sent, true));
            offer_whims(model, state, slot, place, out);
        }
    }
}

fn offer_whims(model: &Carillon, state: &State, slot: usize, place: usize, out: &mut Vec<Action>) {
    let message = usize::from(state.workers[slot].claims[place].message);
    let left = &state.left;
    if left.transients > 0 {
        out.push(Action::Call(slot, place, Fate::Transient, false));
    }
    // Under a key that it has taken, a gateway repeats its first answer: it does not refuse.
    if left.permanents > 0 && !(model.bounds.idempotent && state.gates[message] == Gate::Accepted) {
        out.push(Action::Call(slot, place, Fate::Permanent, false));
    }
    if left.doubts > 0 {
        out.push(Action::Call(slot, place, Fate::Doubt, true));
        out.push(Action::Call(slot, place, Fate::Doubt, false));
    }
    if left.lapses > 0 {
        out.push(Action::Lapse(slot, place));
    }
}

/// A worker stops calling 10 s after its last good beat began, and nobody is declared dead before 14 s.
fn may_call(model: &Carillon, state: &State, slot: usize, claim: &Claim) -> bool {
    (!state.deadline_passed || model.without(Mutation::DeadlineCheck))
        && (!state.workers[slot].fenced || model.without(Mutation::HeartbeatCheck))
        && (claim.cleared || model.without(Mutation::Clearance))
}

pub fn apply(model: &Carillon, state: &mut State, action: Action) {
    match action {
        Action::Call(slot, place, fate, taken) => call(model, state, slot, place, fate, taken),
        Action::GiveBack(slot, place) => state.workers[slot].claims[place].fate = Fate::GivenBack,
        Action::Lapse(slot, place) => {
            state.left.lapses -= 1;
            state.workers[slot].claims[place].fate = Fate::GivenBack;
        }
        _ => {}
    }
    if let Action::Call(slot, ..) | Action::GiveBack(slot, _) | Action::Lapse(slot, _) = action {
        state.workers[slot].claims.sort_unstable();
    }
}

fn call(model: &Carillon, state: &mut State, slot: usize, place: usize, fate: Fate, taken: bool) {
    match fate {
        Fate::Transient => state.left.transients -= 1,
        Fate::Permanent => state.left.permanents -= 1,
        Fate::Doubt => state.left.doubts -= 1,
        _ => {}
    }
    let claim = &mut state.workers[slot].claims[place];
    claim.fate = fate;
    let message = usize::from(claim.message);
    state.breach.called_halted |= halts::in_effect(model, state, message).is_some();
    let gate = &mut state.gates[message];
    state.breach.called_late |= state.deadline_passed;
    if *gate != Gate::Untouched && !model.bounds.idempotent {
        state.breach.called_twice = true;
    }
    if taken {
        *gate = Gate::Accepted;
    } else if fate == Fate::Doubt && *gate == Gate::Untouched {
        *gate = Gate::Doubted;
    }
}
