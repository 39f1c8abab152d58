//! The command `carillon`: every service in one process (`carillon dev`), and the client of a
//! running server. What it prints and how it exits is a contract that scripts rely on.

/// A line on standard error, beside the result. Where nobody reads it, nothing is lost.
macro_rules! note {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

pub mod activity;
pub mod audit;
pub mod balance;
pub mod campaign;
pub mod cli;
pub mod client;
pub mod context;
pub mod csv_rows;
pub mod customers;
pub mod demo;
pub mod dev;
mod effect;
pub mod error;
pub mod import;
pub mod keys;
pub mod nearest;
pub mod ops;
pub mod org;
pub mod output;
pub mod pages;
pub mod report;
pub mod serve;
pub mod template;
pub mod watch;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use crate::error::Error;

/// Reads the command line, carries it out, and answers with the exit code: 0 when it did what was
/// asked, 1 when that was refused or failed, 2 for bad usage.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version come this way too, with code 0. Nobody is left to tell of a failed print.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                let _ = writeln!(io::stderr(), "error: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: cli::Cli) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("no threads to run on: {error}")))?;
    let answer = runtime.block_on(cli::run(cli));
    // A reader of standard input can't be interrupted, and nothing is left to wait for.
    runtime.shutdown_background();
    answer
}
