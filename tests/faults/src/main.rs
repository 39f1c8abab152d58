//! Every scenario at full size, a line each.

use std::process::ExitCode;

use carillon_faults::{Size, run};
use clap::Parser;

/// Kills, cuts and wipes Carillon in all ways that are known, with real processes, PostgreSQL,
/// RabbitMQ and providers, and holds what comes of it against the promises.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  make faults\n  make faults ONLY=\"4 5\" FAULT_RECIPIENTS=20000"
)]
struct Arguments {
    /// Scenarios by number; all where none is named.
    only: Vec<u8>,
    /// Messages of each scenario, about.
    #[arg(long, default_value_t = 100_000)]
    recipients: usize,
    /// As `make test` runs them: 2,000 messages, and shorter outages.
    #[arg(long, conflicts_with = "recipients")]
    small: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let size = if arguments.small { Size::small() } else { Size::full(arguments.recipients) };
    run(size, &arguments.only)
}
