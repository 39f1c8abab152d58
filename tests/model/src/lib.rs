//! The protocol of PROTOCOL.md as a state machine, visited exhaustively.
//!
//! The databases are the truth; the broker holds copies that may be lost, repeated and reordered; workers forget
//! what they hold when they are killed, and may be declared dead while they run. Each mechanism of the protocol can
//! be taken out ([`Mutation`]); the checker then shows a shortest way to the harm it prevents.
//!
//! One step is one transaction or one call. Every world is small ([`Bounds`]): up to three messages in two batches,
//! two workers, and a budget of each fault. Versions are renumbered, so that states do not differ by their history.
//! "Everything settles" is asked of every state: once the faults stop, some way leads to the end. It is asked twice:
//! with the deadline, which ends what nothing else does, and without it, where only want of money excuses.
//!
//! Stood in for: the evaluator's view of acceptance by the report's, which has it from the same events by the same
//! rule; a mark's own message by the mark; takeover of an epoch by takeover of its rows, batch by batch; halts and
//! opt-outs by orders of one kind, which end in different states; their events by their being heard, in any order.
//! Left out: time (only what it guarantees is used: a worker declared dead begins no call, and two seconds after "in
//! effect" no clearance is left that is older than the order), places and windows, throttle, the cause that a
//! cancelled batch is released with, shared addresses and caps, parked poison.

mod action;
mod check;
mod config;
mod drain;
mod mutation;
pub mod properties;
mod state;
mod step;
mod trial;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use stateright::{Model, Property};

pub use action::Action;
pub use check::{Verdict, check, check_healed, check_unharmed, check_without, find};
pub use config::{
    Bounds, all, cancelled_keys, cancels, crashes, events, keys, late_crashes, misfortunes, money,
    opt_outs, pauses, planners, purse, receipts, zombies,
};
pub use mutation::Mutation;
pub use state::State;
pub use trial::{Trial, healed, trial, trials};

pub struct Carillon {
    pub bounds: Bounds,
    pub mutation: Option<Mutation>,
    /// Only this promise is watched, so that the search ends where it first falls.
    pub watched: Option<&'static str>,
    /// States from which each goal is known to be reached.
    drained: [Mutex<HashSet<u64>>; 2],
}

impl Carillon {
    pub fn new(bounds: Bounds, mutation: Option<Mutation>) -> Self {
        Carillon { bounds, mutation, watched: None, drained: Default::default() }
    }

    fn without(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn drained(&self, goal: drain::Goal) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.drained[goal as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for Carillon {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds.faults, self.bounds.credited)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::offer(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        step::apply(self, &mut next, action);
        step::commit(self, last, &mut next);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        match self.watched {
            Some(name) => properties::all()
                .into_iter()
                .chain(properties::idle())
                .filter(|p| p.name == name)
                .collect(),
            None => properties::all(),
        }
    }
}
