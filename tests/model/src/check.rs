//! Runs the checker, and tells what it found.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::properties::SETTLES;
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
    let name = bounds.name.to_owned();
    run(name, Carillon::new(bounds, None), true)
}

/// The same with one mechanism taken out; stops at the first harm, by the shortest way.
pub fn check_without(mutation: Mutation, bounds: Bounds) -> Verdict {
    let name = format!("{} without {mutation}", bounds.name);
    run(name, Carillon::new(bounds, Some(mutation)), false)
}

fn run(name: String, model: Carillon, mirrored: bool) -> Verdict {
    let start = Instant::now();
    let builder = model.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures);
    if mirrored {
        verdict(name, start, builder.symmetry_fn(State::representative).spawn_dfs().join())
    } else {
        verdict(name, start, builder.spawn_bfs().join())
    }
}

fn verdict(name: String, start: Instant, checker: impl Checker<Carillon>) -> Verdict {
    let found =
        checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_actions().len());
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
    if property == SETTLES {
        let end = drain::end_of(model, &last);
        lines.push(format!("… and then, without any further fault: {}", left_behind(model, &end)));
    }
    lines
}

fn left_behind(model: &Carillon, state: &State) -> String {
    let rows: Vec<_> = state.rows[..model.bounds.messages()].iter().map(|row| row.state).collect();
    let account = &state.account;
    let told: Vec<_> =
        state.report[..model.bounds.batches()].iter().map(|line| line.totals).collect();
    let blocks: Vec<_> =
        state.books[..model.bounds.batches()].iter().map(|book| book.block).collect();
    format!(
        "rows {rows:?}, available {} held {} spent {}, blocks kept {blocks:?}, report {told:?}",
        account.available, account.held, account.spent
    )
}
