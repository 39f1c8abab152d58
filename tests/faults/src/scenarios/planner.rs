//! Kills of those who plan, and of the relays that tell of it.

use std::collections::{BTreeMap, BTreeSet};

use carillon_broker::topology;
use carillon_contracts::{
    ids::{BatchId, RunId},
    jobs::v1::Channel,
    limits::BATCH_RECIPIENTS,
};
use uuid::Uuid;

use super::queues::Hearing;
use crate::{
    Outcome, Size,
    drill::{BOTH, Drill, until},
};

pub(crate) fn killed_while_planning(size: &Size) -> Outcome {
    let mut drill = Drill::of_campaigns(size, 2);
    let undisturbed = drill.send(BOTH);
    drill.until_settled(&undisturbed);
    // Before a commit the step is lost, after it the next one begins: one kill in ten moves on, by
    // about a third of the plan, so that the plan outlasts the kills.
    let moves_on = match (drill.customers / BATCH_RECIPIENTS / 3).saturating_sub(1) {
        0 => "plan.step.after=return".to_owned(),
        steps => format!("plan.step.after={steps}*off->1*return"),
    };
    let faults: Vec<&str> = (1..=20)
        .map(|kill| if kill % 10 == 0 { &*moves_on } else { "plan.step.before=return" })
        .collect();
    drill.arm("segment-evaluator", 1, faults[0]);
    let disturbed = drill.send(BOTH);
    drill.dies_of("segment-evaluator", 1, &faults[1..]);
    drill.until_settled(&disturbed);
    assert_eq!(
        planned(&drill, &disturbed),
        planned(&drill, &undisturbed),
        "who is in which batch of the plan"
    );
    drill.end(0)
}

/// The customers of each batch, by channel and the batch's number in its run; the ids follow from
/// these.
fn planned(drill: &Drill, campaign: &str) -> BTreeMap<(String, u32), BTreeSet<String>> {
    let sql = format!("SELECT run_id FROM runs WHERE campaign_id = '{campaign}'");
    let runs = drill.rows("segment-evaluator", &sql);
    assert_eq!(runs.len(), 1, "runs of {campaign}");
    let run: Uuid = runs[0].try_get_by_index(0).expect("an id");
    let mut batches: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for row in drill.stack.detail(campaign) {
        let customer = (row["channel"].clone(), row["external_id"].clone());
        batches.entry(row["batch"].clone()).or_default().insert(customer);
    }
    let mut planned = BTreeMap::new();
    for (word, channel) in [("sms", Channel::Sms), ("email", Channel::Email)] {
        for number in 0.. {
            let id = BatchId::of(RunId::new(run), channel, number).to_string();
            let Some(customers) = batches.remove(&id) else { break };
            let customers = customers.into_iter().map(|(_, customer)| customer).collect();
            planned.insert((word.to_owned(), number), customers);
        }
    }
    assert!(batches.is_empty(), "batches of other ids: {:?}", batches.keys());
    planned
}

pub(crate) fn relays_killed_after_the_confirm(size: &Size) -> Outcome {
    // As many messages as other scenarios have, in five campaigns.
    let mut drill = Drill::of(size.recipients / 10, &[], &[]);
    // A dispatcher's kill would leave messages unknown as well; its relay is the same one.
    let services = ["campaign-api", "scheduler", "segment-evaluator"];
    let faults =
        ["outbox.confirmed=return", "outbox.settle.before=return", "outbox.settle.after=return"];
    for fault in faults {
        for service in services {
            drill.arm(service, 1, fault);
        }
        let id = drill.send(BOTH);
        for service in services {
            // Once: then its subscriber's mark may tell sooner than the relay that it arrived.
            drill.dies_of(service, 1, &[]);
        }
        drill.until_settled(&id);
    }
    // And the one that hands batches out.
    for fault in ["release.confirmed=return", "release.settle.before=return"] {
        drill.arm("segment-evaluator", 1, fault);
        let id = drill.send(BOTH);
        drill.dies_of("segment-evaluator", 1, &[]);
        drill.until_settled(&id);
    }
    // While nobody hears what billing tells, its relay cannot be told that it arrived.
    drill.arm("billing", 1, "outbox.confirmed=return");
    drill.stack.terminate("campaign-api", 1);
    let _ = drill.stack.run(&["balance", "credit", "1", "--request-id", "of-the-drill"]).ok();
    drill.dies_of("billing", 1, &["outbox.confirmed=return"]);
    let audited = Hearing::of("campaign-api", topology::BILLING, topology::AUDIT_RECORDED);
    until("it is told again", || drill.depth(&audited.queue()) >= 3);
    drill.stack.spawn("campaign-api", 1);
    until("all of it is heard", || {
        drill.depth(&audited.queue()) == 0 && audited.handled(&drill) == audited.told(&drill)
    });
    assert_eq!(credits_in_the_log(&drill), 2, "the drill's own, and the one that was told thrice");
    drill.end(0)
}

fn credits_in_the_log(drill: &Drill) -> usize {
    let log = drill.stack.run(&["org", "audit", "-o", "json"]).ok().json();
    let deeds = log.as_array().expect("a list").iter();
    deeds.filter(|deed| deed["act"] == "balance.credited").count()
}
