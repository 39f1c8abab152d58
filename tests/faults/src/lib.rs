//! Fault drills: each scenario of docs/reliability.md sets real processes up, breaks something at a
//! point where it hurts, and holds what comes of it against the promises.

mod check;
mod drill;
mod scenarios;
mod servers;
mod spy;
mod thief;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use carillon_testkit::is_distributed;

/// How large a scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Messages, about.
    pub recipients: usize,
    /// What an outage of a minute is.
    pub minute: Duration,
}

impl Size {
    pub fn full(recipients: usize) -> Self {
        Self { recipients, minute: Duration::from_secs(60) }
    }

    /// Long outages are shorter, and yet longer than a worker may be silent.
    pub fn small() -> Self {
        Self { recipients: 2_000, minute: Duration::from_secs(20) }
    }
}

/// Settings by which what the broker lost is sent again sooner.
pub(crate) const SOONER: &[(&str, &str)] = &[("CARILLON__BROKER__RESEND_AFTER", "5s")];

/// A scenario by its number in docs/reliability.md.
pub(crate) struct Scenario {
    pub number: u8,
    pub title: &'static str,
    pub parts: Parts,
    pub run: fn(&Size) -> Outcome,
}

/// What a scenario breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Embedded,
    Distributed,
}

/// What is counted in the end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub recipients: usize,
    pub kills: usize,
    pub sent: usize,
    pub unknown: usize,
    pub lost: usize,
    pub duplicated: usize,
}

impl std::ops::Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            recipients: self.recipients + other.recipients,
            kills: self.kills + other.kills,
            sent: self.sent + other.sent,
            unknown: self.unknown + other.unknown,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
        }
    }
}

/// Runs the scenarios with the program that stands beside this one.
///
/// # Panics
/// Where it is not there.
pub fn run(size: Size, only: &[u8]) -> ExitCode {
    let own = std::env::current_exe().expect("our own path");
    let program = own.with_file_name("carillon-under-fault");
    assert!(program.exists(), "{}: build it first", program.display());
    run_with(&program, size, only)
}

/// Runs those scenarios, or all, that fit the parts of `CARILLON_TEST_ON`, one after the other:
/// some stop the servers that all share.
pub fn run_with(program: &Path, size: Size, only: &[u8]) -> ExitCode {
    carillon_e2e::cli::use_binary(program.to_owned());
    let parts = if is_distributed() { Parts::Distributed } else { Parts::Embedded };
    let chosen = scenarios::ALL.iter().filter(|scenario| {
        scenario.parts == parts && (only.is_empty() || only.contains(&scenario.number))
    });
    println!(
        "{:>2} {:<58} {:>10} {:>5} {:>7} {:>7} {:>4} {:>10} {:>7}",
        "#", "scenario", "recipients", "kills", "sent", "unknown", "lost", "duplicated", "seconds"
    );
    let mut failed = Vec::new();
    for scenario in chosen {
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&size)));
        let seconds = begun.elapsed().as_secs_f64();
        let Scenario { number, title, .. } = scenario;
        match done {
            Ok(Outcome { recipients, kills, sent, unknown, lost, duplicated }) => println!(
                "{number:>2} {title:<58} {recipients:>10} {kills:>5} {sent:>7} {unknown:>7} \
                 {lost:>4} {duplicated:>10} {seconds:>7.1}"
            ),
            Err(_) => {
                println!("{number:>2} {title:<58} does not hold; see above {seconds:>22.1}");
                failed.push(*number);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nscenarios that do not hold: {failed:?}");
    ExitCode::FAILURE
}
