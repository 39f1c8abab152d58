//! What a forecast says is what the run then costs, whatever the texts, and wherever they go.

use std::collections::{BTreeMap, BTreeSet};

use carillon_e2e::{Server, root};
use serde_json::Value as Json;

/// Texts for the whole example audience, with names in many alphabets and attributes of very
/// different lengths.
const TEXTS: [(&str, &str); 7] = [
    ("GSM-7", "sms: { text: \"25 % off hot drinks today. See you soon!\" }"),
    ("extension characters", "sms: { text: \"[25 %] {UserName|you}: 3 € ^ ~ | \\\\ until 9 pm\" }"),
    ("UCS-2", "sms: { text: \"Сегодня 25 % на всё: {UserName|друг}\" }"),
    (
        "names decide",
        "sms: { text: \"Dear {FirstName|friend} {LastName}, all hot drinks and cakes are 25 % off today.\" }",
    ),
    (
        "names decide, look-alikes downgraded",
        "sms: { text: \"Dear {FirstName|friend} {LastName} — all hot drinks and cakes are 25 % off today…\", downgrade: true }",
    ),
    (
        "around the parts' edges",
        "sms: { text: \"{UserName|you}, {UserName|you}, {UserName|you}, {UserName|you}, hello. \
         Twenty-five per cent off all hot drinks and cakes today and tomorrow, {UserName|you}. \
         {UnsubscribeUrl}\" }",
    ),
    ("too long for some", "sms: { text: \"LONG{UserName|you}\" }"),
];

fn number(value: &Json) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[test]
fn the_forecast_is_the_cost_whatever_the_texts() {
    let server = Server::start(&[]);
    for (kind, file) in [("customers", "customers.csv"), ("activity", "activity.csv")] {
        let path = root().join("examples").join(file).display().to_string();
        let rejects = server.path(&format!("{kind}.rejects.csv")).display().to_string();
        let _ = server.run(&[kind, "import", &path, "--rejects", &rejects]).ok();
    }
    server.credit(100_000);
    // Some of the numbers are German, most are not.
    let _ = server.run(&["org", "set", "rates", "DE=2"]).ok();
    let (mut most, mut failed) = (0, 0);
    for (name, sms) in TEXTS {
        // As long as a text may be before substitution, so that longer names make it too long.
        let sms = sms.replace("LONG", &"Twenty. ".repeat(79)[..626]);
        let id = server.campaign(&format!(
            "name: {name}\nactive: true\naudience: {{ everyone: true }}\nschedule: now\n\
             content: {{ {sms} }}\n"
        ));
        let forecast = server.run(&["campaign", "forecast", &id, "-o", "json"]).ok().json();
        let before = number(&server.balance()["spent"]);
        let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
        let report = server.report(&id);
        let channel = &forecast["channels"][0];
        let unsendable = number(&channel["too_long"]) + number(&channel["empty"]);
        assert_eq!(number(&report["states"]["failed"]), unsendable, "{name}: {report}");
        let sent = number(&report["states"]["sent"]);
        assert_eq!(sent, number(&channel["planned"]) - unsendable, "{name}: {report}");
        assert_eq!(forecast["skipped"], report["skipped"], "{name}");
        let spent = number(&server.balance()["spent"]) - before;
        assert_eq!(spent, number(&forecast["credits"]), "{name}: {forecast}");
        let detail = server.detail(&id);
        let figure = |row: &BTreeMap<String, String>, column: &str| {
            row[column].parse::<u64>().expect("a count")
        };
        let parts = |row: &BTreeMap<String, String>| figure(row, "parts");
        let credits = detail.iter().map(|row| figure(row, "credits"));
        assert_eq!(credits.sum::<u64>(), spent, "{name}: message by message");
        let rates: BTreeSet<u64> = (detail.iter().filter(|row| parts(row) > 0))
            .map(|row| figure(row, "credits") / parts(row))
            .collect();
        assert_eq!(rates, BTreeSet::from([1, 2]), "{name}");
        let total = detail.iter().map(parts).sum::<u64>();
        assert_eq!(total, number(&channel["total_parts"]), "{name}");
        let reported = &report["channels"][0];
        assert_eq!((number(&reported["parts"]), number(&reported["credits"])), (total, spent));
        let sent = detail.iter().filter(|row| row["state"] == "sent").map(parts);
        let (least, largest) = (sent.clone().min(), sent.max());
        assert_eq!(least, channel["least_parts"].as_u64(), "{name}");
        assert_eq!(largest, channel["most_parts"].as_u64(), "{name}");
        println!("{name}: {spent} credits, {unsendable} too long or empty");
        most = most.max(number(&channel["most_parts"]));
        failed += unsendable;
    }
    assert!(most > 1 && failed > 0, "the texts are too much alike: {most} parts, {failed} failed");
    assert_eq!(server.balance()["held"], 0);
}
