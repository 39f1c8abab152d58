//! `deploy/rabbitmq/definitions.json` mirrors the topology that the services declare.

use carillon_broker::topology;
use serde_json::{Value, json};

fn wanted() -> Value {
    let mut all = topology::queues();
    all.sort();
    let arguments = |name: &str| {
        if name.starts_with("marks.") {
            return json!({ "x-max-length": 10_000 });
        }
        json!({
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-delivery-limit": 1_000_000,
        })
    };
    let queues: Vec<Value> = all
        .iter()
        .map(|(name, _)| {
            json!({
                "name": name, "vhost": "/", "durable": true, "auto_delete": false,
                "arguments": arguments(name),
            })
        })
        .collect();
    let bindings: Vec<Value> = all
        .iter()
        .filter_map(|(name, stream)| {
            let (source, key) = match stream {
                Some(stream) => ("carillon.events", stream.as_str()),
                None if name.starts_with("jobs.") => ("carillon.jobs", name.as_str()),
                None => return None,
            };
            Some(json!({
                "source": source, "vhost": "/", "destination": name,
                "destination_type": "queue", "routing_key": key, "arguments": {},
            }))
        })
        .collect();
    let exchanges = ["carillon.events", "carillon.jobs"].map(|name| {
        json!({
            "name": name, "vhost": "/", "type": "topic", "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        })
    });
    json!({
        "vhosts": [{ "name": "/" }],
        "exchanges": exchanges,
        "queues": queues,
        "bindings": bindings,
    })
}

#[test]
fn the_brokers_definitions_are_the_topology() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rabbitmq/definitions.json");
    let there = std::fs::read_to_string(path).expect("deploy/rabbitmq/definitions.json");
    let there: Value = serde_json::from_str(&there).expect("JSON");
    let wanted = wanted();
    let text = serde_json::to_string_pretty(&wanted).expect("JSON");
    assert!(there == wanted, "deploy/rabbitmq/definitions.json should be:\n{text}");
}
