//! Runs the checker, and tells what it found.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::drain::Goal;
use crate::properties::{SETTLES, SETTLES_ITSELF};
use crate::state::State;
use crate::{Action, Bounds, Carillon, Mutation, drain};

const THREADS: usize = 2;

pub struct Verdict {
    pub name: String,
    pub states: usize,
    pub depth: usize,
    pub took: Duration,
    /// The property that fell, and the way there.
    pub broken: Option<(&'static str, Vec<String>)>,
}

impl Verdict {
    pub fn holds(&self) -> bool {
        self.broken.is_none()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f32();
        write!(f, "{}: {} states, depth {}, {seconds:.1} s: ", self.name, self.states, self.depth)?;
        let Some((property, trace)) = &self.broken else { return write!(f, "holds") };
        write!(f, "BROKEN: {property}")?;
        for (number, line) in trace.iter().enumerate() {
            write!(f, "\n  {:2}. {line}", number + 1)?;
        }
        Ok(())
    }
}

/// Visits every state within the bounds; of two states that mirror each other, one.
pub fn check(bounds: Bounds) -> Verdict {
    run(bounds.name.to_owned(), Carillon::new(bounds, None))
}

/// A mechanism that another makes up for: without it, everything must still hold.
pub fn check_healed(mutation: Mutation, bounds: Bounds) -> Verdict {
    run(format!("without {mutation}"), Carillon::new(bounds, Some(mutation)))
}

fn run(name: String, model: Carillon) -> Verdict {
    let start = Instant::now();
    let builder = model.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures);
    let checker = builder.symmetry_fn(State::representative).spawn_dfs().join();
    let found =
        checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_actions().len());
    verdict(name, start, checker, found)
}

/// The world of a trial, with nothing taken out.
pub fn check_unharmed(mutation: Mutation, bounds: Bounds) -> Verdict {
    run(format!("with {mutation}"), Carillon::new(bounds, None))
}

/// The same with one mechanism taken out; stops when this property falls, by a shortest way.
pub fn check_without(mutation: Mutation, bounds: Bounds, property: &'static str) -> Verdict {
    let model = Carillon { watched: Some(property), ..Carillon::new(bounds, Some(mutation)) };
    first_fall(format!("without {mutation}"), model, property)
}

/// A shortest way to where a property falls in the protocol as it stands.
pub fn find(bounds: Bounds, property: &'static str) -> Verdict {
    let name = bounds.name.to_owned();
    first_fall(name, Carillon { watched: Some(property), ..Carillon::new(bounds, None) }, property)
}

/// One thread, breadth first: the trace is the same each time.
fn first_fall(name: String, model: Carillon, property: &'static str) -> Verdict {
    let start = Instant::now();
    let checker = model.checker().threads(1).spawn_bfs().join();
    let found = checker.discovery(property).map(|path| (property, path));
    verdict(name, start, checker, found)
}

type Found = Option<(&'static str, Path<State, Action>)>;

fn verdict(name: String, start: Instant, checker: impl Checker<Carillon>, found: Found) -> Verdict {
    let broken = found.map(|(property, path)| (property, trace(checker.model(), property, path)));
    Verdict {
        name,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        broken,
    }
}

fn trace(model: &Carillon, property: &'static str, path: Path<State, Action>) -> Vec<String> {
    let last = path.last_state().clone();
    let mut lines: Vec<String> = path.into_actions().iter().map(Action::to_string).collect();
    let goals = [(SETTLES, Goal::Settled), (SETTLES_ITSELF, Goal::SettledOrShort)];
    if let Some((_, goal)) = goals.into_iter().find(|(name, _)| *name == property) {
        let end = drain::end_of(model, &last, goal);
        lines.push(format!("… and then, without any further fault: {}", left_behind(model, &end)));
    }
    lines
}

fn left_behind(model: &Carillon, state: &State) -> String {
    let messages = 0..model.bounds.messages();
    let rows: Vec<_> = messages.clone().map(|message| state.rows[message].state).collect();
    let details: Vec<_> = messages.map(|message| state.details[message].settled).collect();
    let batches = 0..model.bounds.batches();
    let blocks: Vec<_> = batches.clone().map(|batch| state.books[batch].block).collect();
    let report: Vec<_> = batches.map(|batch| state.report[batch].totals).collect();
    let account = &state.account;
    format!(
        "rows {rows:?}, available {} held {} spent {}, blocks kept {blocks:?}, report {report:?}, details {details:?}",
        account.available, account.held, account.spent
    )
}
