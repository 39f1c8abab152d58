//! The line as separate processes on PostgreSQL and RabbitMQ, with providers on the wire. On
//! embedded parts there is nothing to do here: see the other suites.

mod credits;
mod fairness;
mod halts;
mod same;
mod settings;
mod stops;
mod trace;

use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Cli, Providers, customers};
use serde_json::Value as Json;

/// To all of them, on both channels, with a link to opt out.
const CAMPAIGN: &str = "name: Everyone\n\
    active: true\n\
    audience: { everyone: true }\n\
    schedule: now\n\
    content:\n  \
      sms: { text: \"Hi {UserName|friend}, 25 % off today.\" }\n  \
      email: { subject: \"For you, {FirstName}\", text: \"25 % off. No more: {UnsubscribeUrl}\" }\n";

const RECIPIENTS: u64 = 20_000;
/// Long: machines are busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Imports 10,000 customers on both channels and stores a campaign to them; answers its id.
fn campaign_to_20000(cli: &Cli) -> String {
    let file = cli.write("customers.csv", customers::csv(10_000));
    let _ = cli.run(&["customers", "import", &file]).ok();
    cli.credit(15_000);
    cli.campaign(CAMPAIGN)
}

fn state(report: &Json, name: &str) -> u64 {
    report["states"][name].as_u64().unwrap_or_default()
}

/// Asks for the report until it satisfies the condition.
fn until(cli: &Cli, campaign: &str, what: &str, condition: impl Fn(&Json) -> bool) -> Json {
    let begun = Instant::now();
    loop {
        let report = cli.report(campaign);
        if condition(&report) {
            return report;
        }
        assert!(begun.elapsed() < PATIENCE, "never became true: {what}; {report}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn until_settled(cli: &Cli, campaign: &str) -> Json {
    until(cli, campaign, "all settled", |report| {
        report["plan_complete"] == true && report["in_flight"] == 0
    })
}

/// Waits until at least this many were accepted.
fn until_accepted(providers: &Providers, count: usize) {
    let begun = Instant::now();
    while providers.total() < count {
        assert!(begun.elapsed() < PATIENCE, "{} of {count} accepted", providers.total());
        thread::sleep(Duration::from_millis(10));
    }
}
