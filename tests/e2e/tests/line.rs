//! The whole line, from a file of customers to the report.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Server, customers, root};
use serde_json::Value as Json;

/// Long: machines are busy.
const PATIENCE: Duration = Duration::from_secs(180);

fn counts(report: &Json, key: &str) -> BTreeMap<String, u64> {
    let map = report[key].as_object().expect("a map").iter();
    map.map(|(name, count)| (name.clone(), count.as_u64().expect("a count"))).collect()
}

/// What the report says equals what its detail lists.
fn assert_detail_agrees(server: &Server, campaign: &str, report: &Json) {
    let detail = server.detail(campaign);
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let mut skipped: BTreeMap<String, u64> = BTreeMap::new();
    for row in &detail {
        let (map, name) = match row["skipped"].as_str() {
            "" => (&mut states, row["state"].clone()),
            reason => (&mut skipped, reason.to_owned()),
        };
        *map.entry(name).or_default() += 1;
    }
    assert_eq!(counts(report, "states"), states);
    assert_eq!(counts(report, "skipped"), skipped);
    assert_eq!(report["matched"].as_u64(), Some(detail.len() as u64));
    let mut rows: Vec<_> =
        detail.iter().map(|row| (&row["external_id"], &row["channel"])).collect();
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), detail.len(), "each customer and channel once");
}

#[test]
fn the_examples_go_from_file_to_report() {
    let server = Server::start(&[]);
    let examples = root().join("examples");
    let customers = examples.join("customers.csv").display().to_string();
    let rejects = server.path("rejects.csv").display().to_string();
    let imported = server
        .run(&["customers", "import", &customers, "--rejects", &rejects, "-o", "json"])
        .ok()
        .json();
    let again = server
        .run(&["customers", "import", &customers, "--rejects", &rejects, "-o", "json"])
        .ok()
        .json();
    assert_eq!(again["stored"], 0, "importing again changes nothing: {again}");
    let activity = examples.join("activity.csv").display().to_string();
    let activity_rejects = server.path("activity-rejects.csv").display().to_string();
    let events = server
        .run(&["activity", "import", &activity, "--rejects", &activity_rejects, "-o", "json"])
        .ok()
        .json();
    assert_eq!(imported["stored"], 2_357);
    assert_rejects("customers.csv", &rejects);
    assert_rejects("activity.csv", &activity_rejects);
    assert_eq!(events["stored"], 9_491);

    server.credit(5_000);
    let file = examples.join("campaign.yaml").display().to_string();
    let created = server.run(&["campaign", "create", "-f", &file, "-o", "json"]).ok().json();
    let id = created["id"].as_str().expect("an id");
    let forecast = server.run(&["campaign", "forecast", id, "-o", "json"]).ok().json();
    let _ = server.run(&["campaign", "start", id, "--yes", "--wait"]).ok();
    let _ = server.run(&["campaign", "start", id, "--yes", "--wait"]).ok();
    let report = server.report(id);
    for figure in ["matched", "planned", "skipped"] {
        assert_eq!(forecast[figure], report[figure], "{figure} as forecast");
    }
    assert_eq!(report["in_flight"], 0);
    assert_eq!(report["states"]["sent"], report["planned"]);
    assert_detail_agrees(&server, id, &report);
    let accepted = server.accepted("sms").len() + server.accepted("email").len();
    assert_eq!(report["planned"].as_u64(), Some(accepted as u64));

    let balance = server.run(&["balance", "show", "-o", "json"]).ok().json();
    let parts = forecast["channels"].as_array().expect("channels").iter();
    let parts: u64 = parts.filter_map(|channel| channel["total_parts"].as_u64()).sum();
    assert_eq!(balance["spent"].as_u64(), Some(parts), "the forecast is the cost: {balance}");
    assert_eq!((balance["held"].as_u64(), balance["credited"].as_u64()), (Some(0), Some(5_000)));
}

/// Exactly the rows that the examples say, each for its own reason.
fn assert_rejects(file: &str, rejects: &str) {
    let expected = fs::read(root().join("examples/expected_rejects.csv")).expect("the list");
    let mut expected: Vec<(u64, String)> = csv::Reader::from_reader(expected.as_slice())
        .deserialize::<BTreeMap<String, String>>()
        .map(|row| row.expect("a row"))
        .filter(|row| row["file"] == file)
        .map(|row| (row["line"].parse().expect("a number"), row["reason"].clone()))
        .collect();
    let mut found: Vec<(u64, String)> = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(rejects)
        .expect("the rejects")
        .deserialize::<BTreeMap<String, String>>()
        .map(|row| row.expect("a row"))
        .map(|row| (row["reject_line"].parse().expect("a number"), row["reject_reason"].clone()))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{file}");
}

#[test]
fn nothing_of_a_paused_organisation_is_sent() {
    let server = Server::start(&[]);
    let file = server.write("customers.csv", customers::csv(200));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(500);
    let paused = server.run(&["org", "set", "paused", "true", "-o", "json"]).ok().json();
    assert_eq!(paused["paused"], true);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    let until = |what: &str, holds: &dyn Fn(&Json) -> bool| {
        let begun = Instant::now();
        while !holds(&server.report(&id)) {
            assert!(begun.elapsed() < PATIENCE, "never {what}: {}", server.report(&id));
            thread::sleep(Duration::from_millis(100));
        }
    };
    until("all wait", &|report| report["waiting"]["paused"] == 400);
    assert!(server.accepted("sms").is_empty() && server.accepted("email").is_empty());
    let _ = server.run(&["org", "set", "paused", "false"]).ok();
    until("all are sent", &|report| report["states"]["sent"] == 400);
    for channel in ["sms", "email"] {
        let accepted = server.accepted(channel);
        assert!(accepted.len() == 200 && accepted.values().all(|times| *times == 1));
    }
}

#[test]
fn refused_and_failing_messages_are_counted_as_what_they_are() {
    let server = Server::start(&[
        ("CARILLON__SMS_DISPATCHER__SANDBOX__REFUSE_SHARE", "0.1"),
        ("CARILLON__EMAIL_DISPATCHER__SANDBOX__FAIL_SHARE", "0.05"),
    ]);
    let file = server.write("customers.csv", customers::csv(300));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(1_000);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
    let report = server.report(&id);
    let failed = report["states"]["failed"].as_u64().expect("some failed");
    assert!((10..60).contains(&failed), "{report}");
    assert_eq!(report["states"]["sent"].as_u64(), Some(600 - failed));
    assert_detail_agrees(&server, &id, &report);
    let balance = server.run(&["balance", "show", "-o", "json"]).ok().json();
    assert_eq!(balance["spent"].as_u64(), Some(300 - failed), "a refused message costs nothing");
}
