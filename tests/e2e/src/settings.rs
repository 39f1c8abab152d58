//! What holds of settings that change while messages wait, whichever way Carillon runs.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value as Json;

use crate::{Cli, Providers};

/// A setting holds within a minute; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

const CUSTOMERS: &str = "external_id,phone,email,consent,subscribe_sms,subscribe_email\n\
    OPEN,+31612345601,open@mail.example.org,not_specified,true,true\n\
    DUTCH,+31612345602,dutch@mail.example.org,given,true,true\n\
    GERMAN,+4915112345603,german@mail.example.org,given,true,true\n";

const CAMPAIGN: &str = "name: Everyone\n\
    active: true\n\
    audience: { everyone: true }\n\
    schedule: now\n\
    content: { sms: { text: \"25 % off.\" }, email: { subject: \"25 % off\", text: \"Today.\" } }\n";

fn until(cli: &Cli, campaign: &str, what: &str, condition: impl Fn(&Json) -> bool) {
    let begun = Instant::now();
    loop {
        let report = cli.report(campaign);
        if condition(&report) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}: {report}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn until_settled(cli: &Cli, campaign: &str) {
    until(cli, campaign, "settled", |report| {
        report["plan_complete"] == true && report["in_flight"] == 0
    });
}

fn set(cli: &Cli, key: &str, value: &str) {
    let _ = cli.run(&["org", "set", key, value]).ok();
}

/// Three customers, a campaign to them, and its id.
fn campaign(cli: &Cli, providers: &Providers) -> String {
    providers.set_for(cli, &[]);
    let file = cli.write("customers.csv", CUSTOMERS);
    let _ = cli.run(&["customers", "import", &file]).ok();
    cli.credit(10);
    cli.campaign(CAMPAIGN)
}

fn start(cli: &Cli, id: &str) {
    let _ = cli.run(&["campaign", "start", id, "--yes"]).ok();
}

/// How each message ended.
fn ends(cli: &Cli, id: &str) -> Vec<[String; 4]> {
    let columns = ["external_id", "channel", "state", "reason"];
    let row =
        |row: std::collections::BTreeMap<String, String>| columns.map(|name| row[name].clone());
    let mut rows: Vec<_> = cli.detail(id).into_iter().map(row).collect();
    rows.sort();
    rows
}

/// # Panics
/// If what waits goes by the settings of the time when it was planned.
pub fn hold_for_what_is_queued(cli: &Cli, providers: &Providers) {
    let id = campaign(cli, providers);
    set(cli, "paused", "true");
    start(cli, &id);
    until(cli, &id, "queued", |report| report["waiting"]["paused"] == 6);
    set(cli, "require_consent", "true");
    set(cli, "markets", "NL");
    set(cli, "paused", "false");
    until_settled(cli, &id);
    let expected = [
        ["DUTCH", "email", "sent", ""],
        ["DUTCH", "sms", "sent", ""],
        ["GERMAN", "email", "sent", ""],
        ["GERMAN", "sms", "failed", "market_not_allowed"],
        ["OPEN", "email", "suppressed", "no_consent"],
        ["OPEN", "sms", "suppressed", "no_consent"],
    ];
    assert_eq!(ends(cli, &id), expected);
    assert_eq!(providers.total(), 3);
    let balance = cli.balance();
    assert_eq!((&balance["held"], &balance["spent"]), (&Json::from(0), &Json::from(1)));
}

/// # Panics
/// If a customer who was told of while consent was required stays suppressed.
pub fn leave_nobody_suppressed(cli: &Cli, providers: &Providers) {
    let id = campaign(cli, providers);
    set(cli, "require_consent", "true");
    let _ = cli.run(&["customers", "blacklist", "OPEN"]).ok();
    let _ = cli.run(&["customers", "unblacklist", "OPEN"]).ok();
    set(cli, "require_consent", "false");
    let forecast = cli.run(&["campaign", "forecast", &id, "-o", "json"]).ok().json();
    start(cli, &id);
    until_settled(cli, &id);
    let sent = ends(cli, &id).iter().filter(|[.., state, _]| state == "sent").count();
    assert_eq!((sent, &forecast["planned"]), (6, &Json::from(6)));
}
