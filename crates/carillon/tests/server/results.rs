//! The forms of results that `-o` asks for, and what is said of a change's effect.

use serde_json::{Value, json};

use super::Server;

const CUSTOMERS: &str = "external_id,first_name,email,subscribe_email,attr.city\n\
    C1,Zo\u{eb},zoe@mail.example,true,Utrecht\n\
    C2,=cmd(),cmd@mail.example,true,\n";

fn with_customers() -> (Server, String) {
    let server = Server::start();
    let key = server.organisation();
    let file = server.file("customers.csv", CUSTOMERS);
    let imported = server.json(&key, &["customers", "import", &file]);
    assert_eq!((&imported["stored"], &imported["in_effect"]), (&json!(2), &json!(null)));
    (server, key)
}

fn printed(server: &Server, key: &str, arguments: &[&str]) -> String {
    let output = server.run(key, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn an_export_is_csv_json_or_a_table() {
    let (server, key) = with_customers();
    let plain = printed(&server, &key, &["customers", "export"]);
    assert_eq!(printed(&server, &key, &["customers", "export", "-o", "csv"]), plain);
    assert!(plain.starts_with("external_id,cards,first_name,"), "{plain}");
    assert!(plain.contains(",'=cmd(),"), "{plain}");

    let listed = server.json(&key, &["customers", "list"]);
    assert_eq!(server.json(&key, &["customers", "export"]), listed);
    let ids: Vec<&Value> =
        listed.as_array().expect("an array").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(
        (&listed[0]["attributes"]["city"], &listed[1]["first_name"]),
        (&"Utrecht".into(), &"=cmd()".into())
    );
    let table = printed(&server, &key, &["customers", "export", "-o", "table"]);
    assert!(table.lines().next().is_some_and(|header| header.starts_with("external")), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");

    let path = server.file("out.json", "");
    let words = ["customers", "export", "-o", "json", "--file", &path];
    assert_eq!(printed(&server, &key, &words), "");
    let written = std::fs::read_to_string(&path).expect("written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), listed);
    let nobody = ["customers", "export", "--filter", "category:\"VIP\""];
    assert_eq!(server.json(&key, &nobody), json!([]));
}

#[test]
fn a_campaign_is_watched_as_rows_of_csv_and_as_json() {
    let (server, key) = with_customers();
    let file = server.file(
        "c.yaml",
        "name: Hello\nactive: true\naudience: { everyone: true }\nschedule: now\n\
         content: { email: { subject: Hello, text: Hello } }\n",
    );
    let id = server.json(&key, &["campaign", "create", "-f", &file])["id"].clone();
    let id = id.as_str().expect("an id");
    server.json(&key, &["campaign", "start", id, "--yes", "--wait"]);
    let watched = printed(&server, &key, &["campaign", "watch", id, "-o", "csv"]);
    let rows: Vec<&str> = watched.lines().collect();
    assert!(
        rows[0].starts_with("time,matched,skipped,planned,plan_complete,settled,"),
        "{watched}"
    );
    assert_eq!(rows.iter().filter(|row| row.starts_with("time,")).count(), 1, "{watched}");
    let columns: Vec<&str> = rows[0].split(',').collect();
    let last: Vec<&str> = rows.last().expect("a row").split(',').collect();
    assert_eq!(columns.len(), last.len());
    let of = |name: &str| last[columns.iter().position(|it| *it == name).expect("a column")];
    assert_eq!((of("planned"), of("settled"), of("sent"), of("in_flight")), ("2", "2", "2", "0"));
    let watched = printed(&server, &key, &["campaign", "watch", id, "-o", "json"]);
    let report: Value =
        serde_json::from_str(watched.lines().last().expect("a line")).expect("JSON");
    assert_eq!(report["states"]["sent"], 2);
}

#[test]
fn whoever_changes_who_may_be_sent_to_is_told_that_it_holds() {
    let (server, key) = with_customers();
    let left = server.json(&key, &["customers", "unsubscribe", "C1", "--channel", "email"]);
    assert_eq!(left, json!({ "matched": 1, "changed": 1, "in_effect": true }));
    for (verb, listed) in [("blacklist", true), ("unblacklist", false)] {
        let answer = server.json(&key, &["customers", verb, "C2"]);
        let expected = json!({ "external_id": "C2", "blacklisted": listed, "in_effect": true });
        assert_eq!(answer, expected);
    }
    let file = server.file("left.csv", "external_id,subscribe_email\nC2,false\n");
    let imported = server.json(&key, &["customers", "import", &file]);
    assert_eq!((&imported["stored"], &imported["in_effect"]), (&json!(1), &json!(true)));
    let paused = server.json(&key, &["org", "set", "paused", "true"]);
    assert_eq!((&paused["paused"], &paused["in_effect"]), (&json!(true), &json!(true)));
}
