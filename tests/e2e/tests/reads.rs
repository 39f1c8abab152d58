//! The report's sums hold at every read, and its end agrees with every single row.

use std::collections::BTreeMap;

use carillon_e2e::{LATENCIES, Server, customers};
use serde_json::Value as Json;

const READS: u32 = 200;
/// 128 messages each 500 ms: 20,197 of them take longer than 200 reads.
const SLOW_MS: &str = "500";

fn number(value: &Json) -> u64 {
    value.as_u64().expect("a count")
}

fn sum(map: &Json) -> u64 {
    map.as_object().expect("a map").values().map(number).sum()
}

fn assert_adds_up(report: &Json) {
    let (matched, planned) = (number(&report["matched"]), number(&report["planned"]));
    assert_eq!(matched, planned + sum(&report["skipped"]), "{report}");
    assert_eq!(planned, sum(&report["states"]) + number(&report["in_flight"]), "{report}");
    assert!(sum(&report["waiting"]) <= number(&report["in_flight"]), "{report}");
    let channels = report["channels"].as_array().expect("channels");
    assert_eq!(planned, channels.iter().map(|channel| number(&channel["planned"])).sum::<u64>());
}

#[test]
fn sums_hold_in_200_reads_during_20000_messages_and_the_end_equals_the_detail() {
    let [sms, email] = LATENCIES;
    let mut server = Server::start(&[
        (sms, SLOW_MS),
        (email, SLOW_MS),
        ("CARILLON__SMS_DISPATCHER__SANDBOX__REFUSE_SHARE", "0.02"),
        ("CARILLON__EMAIL_DISPATCHER__SANDBOX__FAIL_SHARE", "0.05"),
    ]);
    let file = server.write("customers.csv", customers::csv(10_100));
    let _ = server.run(&["customers", "import", &file]).ok();
    let _ = server.run(&["customers", "blacklist", "C000007"]).ok();
    let _ = server.run(&["customers", "unsubscribe", "C000008", "--channel", "sms"]).ok();
    server.credit(20_000);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    let over = |report: &Json| report["plan_complete"] == true && report["in_flight"] == 0;
    let mut during = 0;
    while during < READS {
        let report = server.report(&id);
        assert_adds_up(&report);
        assert!(!over(&report), "only {during} reads fell into the run; make SLOW_MS more");
        during += u32::from(number(&report["planned"]) > 0);
    }
    // What is left goes fast, and adds up as well.
    assert_eq!(server.terminate(), Some(0), "{}", server.read_log());
    LATENCIES.into_iter().for_each(|name| server.set(name, "5"));
    server.spawn();
    let mut reads = during;
    let report = loop {
        let report = server.report(&id);
        assert_adds_up(&report);
        if over(&report) {
            break report;
        }
        reads += 1;
        assert!(reads < 20_000, "it never ends: {report}");
    };
    assert_eq!(number(&report["matched"]), 20_200);
    assert_eq!(number(&report["planned"]), 20_197);

    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in server.detail(&id) {
        let key = if row["skipped"].is_empty() { "states" } else { "skipped" };
        let name = if row["skipped"].is_empty() { &row["state"] } else { &row["skipped"] };
        *counted.entry((key.to_owned(), name.clone())).or_default() += 1;
        *counted.entry(("channel".to_owned(), row["channel"].clone())).or_default() += 1;
    }
    for key in ["states", "skipped"] {
        for (name, count) in report[key].as_object().expect("a map") {
            let found = counted.remove(&(key.to_owned(), name.clone())).unwrap_or_default();
            assert_eq!(found, number(count), "{key} {name}");
        }
    }
    for channel in report["channels"].as_array().expect("channels") {
        let name = channel["channel"].as_str().expect("a word").to_owned();
        let found = counted.remove(&("channel".to_owned(), name)).unwrap_or_default();
        assert_eq!(found, number(&channel["matched"]));
    }
    assert!(counted.is_empty(), "the detail has what the report lacks: {counted:?}");
}
