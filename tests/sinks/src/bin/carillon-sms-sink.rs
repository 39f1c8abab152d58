//! The SMS provider of the tests, for the command line: `carillon-sms-sink 127.0.0.1:8025`.

use std::{error::Error, net::SocketAddr, time::Duration};

use carillon_sinks::sms::{Options, SmsSink};
use clap::Parser;

/// Takes SMS as Twilio does and as plain JSON, keeps counts by message, and says once a second how
/// many there were; at the end, how many were taken twice.
#[derive(Parser)]
#[command(
    after_help = "Example: carillon-sms-sink 127.0.0.1:8025 --login AC1:token --receipts delivered"
)]
struct Arguments {
    /// HOST:PORT; port 0 takes a free one.
    address: SocketAddr,
    /// ACCOUNT:TOKEN; whoever comes without it gets 401.
    #[arg(long)]
    login: Option<String>,
    /// Milliseconds before every answer.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Statuses reported for every message, in this order.
    #[arg(long, value_delimiter = ',')]
    receipts: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let login = match arguments.login.as_deref().map(|login| login.split_once(':')) {
        Some(Some((account, token))) => Some((account.to_owned(), token.to_owned())),
        Some(None) => return Err("--login: give ACCOUNT:TOKEN".into()),
        None => None,
    };
    let sink = SmsSink::start(Options {
        listen: Some(arguments.address),
        login,
        latency: Duration::from_millis(arguments.latency),
        receipts: arguments.receipts,
        counts_only: true,
        ..Options::default()
    })
    .await?;
    println!("listening on {}", sink.url());
    let mut before = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let total = sink.total();
                if total != before {
                    let (taken, refused) = sink.receipts();
                    println!("taken {total}, receipts taken {taken}, refused {refused}");
                    before = total;
                }
            }
            stop = tokio::signal::ctrl_c() => break stop?,
        }
    }
    let taken = sink.taken();
    let twice = taken.values().filter(|times| **times > 1).count();
    println!("taken {}, messages {}, twice {twice}", sink.total(), taken.len());
    Ok(())
}
