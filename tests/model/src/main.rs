//! Prints what the checker finds: the protocol as it stands, then without each of its mechanisms.

use std::process::ExitCode;

use carillon_model::{all, check, healed, trials};

fn main() -> ExitCode {
    let mut as_expected = true;
    let worlds = all();
    let (count, mut states) = (worlds.len(), 0);
    for bounds in worlds {
        let verdict = check(bounds);
        println!("{verdict}");
        as_expected &= verdict.holds();
        states += verdict.states;
    }
    println!("{states} states in all, in {count} worlds\n");
    for trial in trials() {
        let verdict = trial.run();
        println!("{verdict}");
        as_expected &= !verdict.holds();
    }
    let verdict = healed();
    println!("{verdict}");
    if as_expected && verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
