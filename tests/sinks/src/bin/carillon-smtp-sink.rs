//! The SMTP server of the tests, for the command line: `carillon-smtp-sink 127.0.0.1:2525`.

use std::{io, time::Duration};

use carillon_sinks::{Behaviour, Fault, SmtpSink, Stage, What};
use clap::Parser;

/// Accepts mail, keeps none, and says once a second how much there was.
#[derive(Parser)]
#[command(after_help = "Example: carillon-smtp-sink 127.0.0.1:2525 --drop-after-dot 10")]
struct Arguments {
    /// HOST:PORT; port 0 takes a free one.
    address: String,
    /// Milliseconds before every answer to the final dot.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Offer no PIPELINING.
    #[arg(long)]
    no_pipelining: bool,
    /// Recipients that contain this are refused with 550.
    #[arg(long)]
    refuse: Option<String>,
    /// The first so many recipients are put off with 450.
    #[arg(long, default_value_t = 0)]
    greylist: usize,
    /// The first so many mails are accepted without an answer.
    #[arg(long, default_value_t = 0)]
    drop_after_dot: usize,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let refuse = Fault::answer(Stage::Rcpt, "550 5.1.1 nobody of this name");
    let mut faults: Vec<Fault> =
        arguments.refuse.iter().map(|part| refuse.clone().to(part)).collect();
    faults.push(Fault::answer(Stage::Rcpt, "450 4.7.1 come back").times(arguments.greylist));
    faults.push(Fault::always(Stage::Dot, What::AcceptAndDrop).times(arguments.drop_after_dot));
    let sink = SmtpSink::listen(
        &arguments.address,
        Behaviour {
            pipelining: !arguments.no_pipelining,
            latency: Duration::from_millis(arguments.latency),
            faults,
            keep: false,
            ..Behaviour::default()
        },
    )
    .await?;
    println!("listening on {}", sink.address());
    let mut last = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            done = tokio::signal::ctrl_c() => {
                done?;
                break;
            }
        }
        let count = sink.count();
        if count != last {
            println!("{count} accepted, {} a second", count - last);
            last = count;
        }
    }
    let accepted = sink.accepted();
    let twice = accepted.values().filter(|times| **times > 1).count();
    println!("{} accepted, {} ids, {twice} more than once", sink.count(), accepted.len());
    Ok(())
}
