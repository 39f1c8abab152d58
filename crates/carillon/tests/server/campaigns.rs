//! Copies and archives, as a script sees them.

use serde_json::{Value, json};

use super::Server;

fn id(campaign: &Value) -> &str {
    campaign["id"].as_str().expect("an id")
}

fn names(listed: &Value) -> Vec<&str> {
    let campaigns = listed.as_array().expect("a list").iter();
    campaigns.map(|campaign| campaign["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_campaign_is_copied_and_archived() {
    let server = Server::start();
    let key = server.organisation();
    let file = server.file(
        "c.yaml",
        "name: New Year\nactive: true\naudience: { everyone: true }\n\
         schedule: { once: 2099-12-31T23:30 }\npending_period: 2h\nat_most_once_in: 7d\n\
         content: { sms: { text: \"Happy new year\" } }\n",
    );
    let first = server.json(&key, &["campaign", "create", "-f", &file]);
    let words = ["campaign", "copy", id(&first), "--request-id", "again"];
    let copy = server.json(&key, &words);
    assert_eq!((&copy["name"], &copy["active"]), (&"Copy of New Year".into(), &false.into()));
    for field in ["audience", "schedule", "pending_period", "at_most_once_in", "content"] {
        assert_eq!(copy[field], first[field], "{field}");
    }
    assert_eq!(server.json(&key, &words), copy, "the same request makes no second copy");
    assert_eq!(names(&server.json(&key, &["campaign", "list"])), ["Copy of New Year", "New Year"]);

    server.json(&key, &["campaign", "start", id(&first)]);
    let error = server.refused(&key, &["campaign", "archive", id(&first)]);
    assert!(error.contains("is scheduled") && error.contains("cancel it first"), "{error}");
    let archived = server.json(&key, &["campaign", "archive", id(&copy)]);
    assert!(archived["archive_time"].is_string(), "{archived}");
    assert_eq!(names(&server.json(&key, &["campaign", "list"])), ["New Year"]);
    let all = server.json(&key, &["campaign", "list", "--all"]);
    assert_eq!(names(&all), ["Copy of New Year", "New Year"]);
    assert_eq!(all[1]["archive_time"], json!(null));
    let error = server.refused(&key, &["campaign", "start", id(&copy)]);
    assert!(error.contains(&format!("campaign copy {}", id(&copy))), "{error}");
}
