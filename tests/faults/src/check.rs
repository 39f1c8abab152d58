//! What must hold at the end of every scenario, as everyone who is asked says: the report, its
//! detail, the dispatchers' tables, the ledger, the outboxes, and the providers.

use std::collections::{BTreeMap, HashMap};

use carillon_e2e::{money::assert_adds_up, stack::SERVICES};

use crate::{
    Outcome,
    drill::{Drill, until},
};

const SETTLED: [&str; 8] =
    ["sent", "delivered", "undelivered", "failed", "expired", "suppressed", "cancelled", "unknown"];
/// States of which the provider took the message.
const TAKEN: [&str; 3] = ["sent", "delivered", "undelivered"];

pub(crate) fn the_end(drill: &Drill, unknown_at_most: usize) -> Outcome {
    let mut outcome = Outcome { kills: drill.kills, ..Outcome::default() };
    let mut known: HashMap<String, String> = HashMap::new();
    for campaign in &drill.campaigns {
        outcome = outcome + of_campaign(drill, campaign, &mut known);
    }
    let accepted = drill.providers.accepted();
    for (id, state) in &known {
        let times = accepted.get(id).copied().unwrap_or_default();
        match state.as_str() {
            taken if TAKEN.contains(&taken) => outcome.lost += usize::from(times == 0),
            "unknown" => {}
            other => assert_eq!(times, 0, "{id} is {other}, and the provider took it"),
        }
    }
    let stray = accepted.keys().find(|id| !known.contains_key(*id));
    assert_eq!(stray, None, "taken by a provider, and in no report");
    outcome.duplicated = accepted.values().filter(|times| **times > 1).count();
    assert_eq!((outcome.lost, outcome.duplicated), (0, 0), "lost, sent twice");
    assert!(outcome.unknown <= unknown_at_most, "{outcome:?}: unknown > {unknown_at_most}");
    balance(drill);
    nothing_left(drill);
    outcome
}

/// The report, its detail and the dispatchers' tables agree; all is settled.
fn of_campaign(drill: &Drill, campaign: &str, known: &mut HashMap<String, String>) -> Outcome {
    let report = drill.until_settled(campaign);
    let planned = report["planned"].as_u64().expect("a count");
    let figures = report["states"].as_object().expect("states").iter();
    let states: BTreeMap<String, u64> = figures
        .map(|(state, count)| (state.clone(), count.as_u64().expect("a count")))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(states.values().sum::<u64>(), planned, "{report}");
    let open: Vec<_> = states.keys().filter(|state| !SETTLED.contains(&state.as_str())).collect();
    assert!(open.is_empty(), "{report}");

    // Single messages are told of after the totals, where the broker lost what told of them first.
    until("the detail says what the report says", || {
        let mut of_detail: BTreeMap<String, u64> = BTreeMap::new();
        for row in drill.stack.detail(campaign) {
            if !row["message_id"].is_empty() {
                *of_detail.entry(row["state"].clone()).or_default() += 1;
                known.insert(row["message_id"].clone(), row["state"].clone());
            }
        }
        of_detail == states
    });
    assert_eq!(of_tables(drill, campaign), states, "the dispatchers' tables and the report");
    let figure = |name: &str| states.get(name).map_or(0, |count| *count as usize);
    Outcome {
        recipients: planned as usize,
        sent: TAKEN.iter().map(|state| figure(state)).sum(),
        unknown: figure("unknown"),
        ..Outcome::default()
    }
}

fn of_tables(drill: &Drill, campaign: &str) -> BTreeMap<String, u64> {
    let sql = format!(
        "SELECT m.state, COUNT(*) FROM messages m
         JOIN batches b ON b.id = m.batch_id AND b.run_day = m.run_day
         WHERE b.campaign_id = '{campaign}' GROUP BY m.state"
    );
    let mut states = BTreeMap::new();
    for service in ["sms-dispatcher", "email-dispatcher"] {
        for row in drill.rows(service, &sql) {
            let state: String = row.try_get_by_index(0).expect("a state");
            let count: i64 = row.try_get_by_index(1).expect("a count");
            *states.entry(state).or_default() += count.unsigned_abs();
        }
    }
    states
}

fn balance(drill: &Drill) {
    let mut balance = drill.stack.balance();
    until("nothing is held", || {
        balance = drill.stack.balance();
        balance["held"] == 0
    });
    assert_adds_up(&balance);
}

/// Outboxes are published, and no batch is open, wherever there are any.
fn nothing_left(drill: &Drill) {
    for service in SERVICES {
        until(&format!("the outbox of {service} is published"), || drill.unsent(service) == 0);
    }
    for service in ["segment-evaluator", "sms-dispatcher", "email-dispatcher"] {
        let sql = "SELECT COUNT(*) FROM batches WHERE NOT closed";
        until(&format!("no batch of {service} is open"), || drill.count(service, sql) == 0);
    }
}
