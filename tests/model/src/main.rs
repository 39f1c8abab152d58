//! Prints what the checker finds: the protocol as it stands, then without each of its mechanisms.

use std::process::ExitCode;

use carillon_model::{all, check, healed, trials};

fn main() -> ExitCode {
    let mut as_expected = true;
    for bounds in all() {
        let verdict = check(bounds);
        println!("{verdict}");
        as_expected &= verdict.holds();
    }
    for trial in trials() {
        let verdict = trial.run();
        println!("{verdict}");
        as_expected &= !verdict.holds();
    }
    let verdict = healed();
    println!("{verdict}");
    if as_expected && verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
