//! What must hold at the end of every scenario, as everyone who is asked says: the report, its
//! detail, the dispatchers' tables, the ledger, the outboxes and inboxes, and the providers.

use std::collections::{BTreeMap, HashMap};

use carillon_broker::topology;
use carillon_e2e::{Cli, money::assert_adds_up, stack::SERVICES};
use sea_orm::QueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Outcome,
    drill::{DISPATCHERS, UNKNOWN_A_KILL, until},
};

/// States of which the provider took the message.
const TAKEN: [&str; 3] = ["sent", "delivered", "undelivered"];

/// Everything that is held against each other, however Carillon runs.
pub(crate) struct Books<'a> {
    pub cli: &'a Cli,
    /// Of a statement on a service's database.
    pub rows: &'a dyn Fn(&str, &str) -> Vec<QueryResult>,
    /// How an id is written in a statement.
    pub id: fn(Uuid) -> String,
    /// By message: how often a provider took it.
    pub accepted: &'a dyn Fn() -> BTreeMap<String, usize>,
    /// Campaigns, and how many messages whoever wrote them expects of each.
    pub campaigns: Vec<(String, usize)>,
    /// What services could not read, and keep for an operator.
    pub parked: usize,
    /// States besides sent and unknown that messages may end in.
    pub other_ends: &'a [&'static str],
}

/// What the report's detail says of a message.
struct Known {
    state: String,
    credits: u64,
}

pub(crate) fn the_end(books: &Books<'_>, unknown_at_most: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut known: HashMap<String, Known> = HashMap::new();
    for (campaign, expected) in &books.campaigns {
        outcome = outcome + books.of_campaign(campaign, *expected, &mut known);
    }
    let accepted = (books.accepted)();
    for (id, Known { state, .. }) in &known {
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
    books.no_worker_left_more_than_it_may_hold();
    assert_eq!(parked(|service, sql| books.count(service, sql)), books.parked, "parked");
    books.balance(&known);
    books.nothing_left();
    books.every_event_is_handled();
    outcome
}

impl Books<'_> {
    /// The report, its detail and the dispatchers' tables agree; all is settled, and as many as were
    /// asked for.
    fn of_campaign(
        &self,
        campaign: &str,
        expected: usize,
        known: &mut HashMap<String, Known>,
    ) -> Outcome {
        let report = until_settled(self.cli, campaign);
        let planned = report["planned"].as_u64().expect("a count");
        let figures = report["states"].as_object().expect("states").iter();
        let states: BTreeMap<String, u64> = figures
            .map(|(state, count)| (state.clone(), count.as_u64().expect("a count")))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(planned, expected as u64, "planned of what was asked for: {report}");
        assert_eq!(states.values().sum::<u64>(), planned, "{report}");
        let is_end = |state: &str| {
            TAKEN.contains(&state) || state == "unknown" || self.other_ends.contains(&state)
        };
        let other: Vec<_> = states.keys().filter(|state| !is_end(state)).collect();
        assert!(other.is_empty(), "{other:?} is no end here: {report}");

        // Single messages are told of after the totals, where the broker lost what told of them first.
        until("the detail says what the report says", || {
            let mut of_detail: BTreeMap<String, u64> = BTreeMap::new();
            for row in self.cli.detail(campaign) {
                if !row["message_id"].is_empty() {
                    let (state, credits) = (row["state"].clone(), row["credits"].parse());
                    *of_detail.entry(state.clone()).or_default() += 1;
                    let credits = credits.unwrap_or_default();
                    known.insert(row["message_id"].clone(), Known { state, credits });
                }
            }
            of_detail == states
        });
        assert_eq!(self.of_tables(campaign), states, "the dispatchers' tables and the report");
        let figure = |name: &str| states.get(name).map_or(0, |count| *count as usize);
        Outcome {
            recipients: planned as usize,
            sent: TAKEN.iter().map(|state| figure(state)).sum(),
            unknown: figure("unknown"),
            ..Outcome::default()
        }
    }

    fn of_tables(&self, campaign: &str) -> BTreeMap<String, u64> {
        let campaign: Uuid = campaign.parse().expect("an id");
        let campaign = (self.id)(campaign);
        let sql = format!(
            "SELECT m.state, COUNT(*) FROM messages m
             JOIN batches b ON b.id = m.batch_id AND b.run_day = m.run_day
             WHERE b.campaign_id = {campaign} GROUP BY m.state"
        );
        let mut states = BTreeMap::new();
        for service in DISPATCHERS {
            for row in (self.rows)(service, &sql) {
                let state: String = row.try_get_by_index(0).expect("a state");
                let count: i64 = row.try_get_by_index(1).expect("a count");
                *states.entry(state).or_default() += count.unsigned_abs();
            }
        }
        states
    }

    /// All that was sent is paid for, and nothing else.
    fn balance(&self, known: &HashMap<String, Known>) {
        let mut balance = self.cli.balance();
        until("nothing is held", || {
            balance = self.cli.balance();
            balance["held"] == 0
        });
        assert_adds_up(&balance);
        let is_paid = |known: &&Known| TAKEN.contains(&&*known.state) || known.state == "unknown";
        let paid: u64 = known.values().filter(is_paid).map(|known| known.credits).sum();
        assert_eq!(balance["spent"], paid, "{balance}: spent, and what the messages cost");
    }

    fn no_worker_left_more_than_it_may_hold(&self) {
        let most = "SELECT COALESCE(MAX(lost), 0) FROM (
                        SELECT COUNT(*) AS lost FROM messages WHERE reason = 'worker_lost'
                        GROUP BY worker_epoch) AS of_each";
        for service in DISPATCHERS {
            let most = self.count(service, most);
            assert!(most <= UNKNOWN_A_KILL as i64, "{service}: one left {most} unknown");
        }
    }

    fn count(&self, service: &str, sql: &str) -> i64 {
        (self.rows)(service, sql)[0].try_get_by_index(0).expect("a count")
    }

    /// Outboxes are published, and no batch is open, wherever there are any.
    fn nothing_left(&self) {
        for service in SERVICES {
            let sql = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL";
            let what = format!("the outbox of {service} is published");
            until(&what, || self.count(service, sql) == 0);
        }
        for service in DISPATCHERS.iter().chain(&["segment-evaluator"]) {
            let sql = "SELECT COUNT(*) FROM batches WHERE NOT closed";
            until(&format!("no batch of {service} is open"), || self.count(service, sql) == 0);
        }
    }

    /// Whatever was told, and lost, came again.
    fn every_event_is_handled(&self) {
        let position = |service: &str, what: &str, of: &str, stream: &str| {
            let sql =
                format!("SELECT COALESCE(MAX({what}), 0) FROM {of} WHERE stream = '{stream}'");
            self.count(service, &sql)
        };
        for stream in topology::queues().into_iter().filter_map(|(_, stream)| stream) {
            let (producer, event) = topology::parse_stream(&stream).expect("a stream");
            let told = position(producer, "last_seq", "streams", &stream);
            for subscriber in topology::subscribers(event, producer) {
                until(&format!("{subscriber} has handled {told} of {stream}"), || {
                    position(subscriber, "mark", "marks", &stream) >= told
                });
            }
        }
    }
}

/// What services could not read.
pub(crate) fn parked(count: impl Fn(&str, &str) -> i64) -> usize {
    let of = |service| count(service, "SELECT COUNT(*) FROM parked").unsigned_abs() as usize;
    SERVICES.into_iter().map(of).sum()
}

/// Waits until all that was planned is settled; answers the report.
pub(crate) fn until_settled(cli: &Cli, campaign: &str) -> Json {
    let mut last = Json::Null;
    until(&format!("campaign {campaign} is settled"), || {
        // Whoever is told that the database did not answer asks again.
        let report = cli.run(&["report", campaign, "-o", "json"]);
        if report.code != 0 {
            return false;
        }
        last = report.json();
        last["plan_complete"] == true && last["in_flight"] == 0 && waiting(&last) == 0
    });
    last
}

fn waiting(report: &Json) -> u64 {
    let waits = report["waiting"].as_object().into_iter().flatten();
    waits.filter_map(|(_, count)| count.as_u64()).sum()
}
