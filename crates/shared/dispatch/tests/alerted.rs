//! What does not add up with a provider: counted and told of, and no money changes.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    io,
    sync::{Mutex, Once},
};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_dispatch::{Evidence, Outcome, Says};
use carillon_service_kit::{Stop, metrics};
use carillon_testkit::eventually;
use harness::{Harness, Purse, address, message};
use jiff::SignedDuration;
use tracing::Level;
use uuid::Uuid;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on warnings and metrics of the process are kept.
fn listen(stop: &Stop) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(Level::WARN);
        log.with_writer(|| Log).init();
    });
    metrics::start(stop).unwrap();
}

fn warnings(text: &str) -> Vec<String> {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The only warning of its kind names the organisation, the message and all of this.
fn assert_warned_once(text: &str, message: MessageId, also: &[&str]) {
    let warnings = warnings(text);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let message = format!("message_id={message}");
    let organisation = format!("organisation={}", organisation());
    for named in [&organisation, &message].into_iter().map(String::as_str).chain(also.to_vec()) {
        assert!(warnings[0].contains(named), "{named} is not in {}", warnings[0]);
    }
}

async fn assert_shown(line: &str) {
    let shown = metrics::render().await.unwrap();
    assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
}

fn organisation() -> OrganisationId {
    OrganisationId::new(Uuid::from_u128(5))
}

fn sent(parts: Option<u32>) -> Outcome {
    Outcome::Sent { provider_id: "p".into(), parts }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_counts_other_parts_is_told_of_and_ours_are_posted() {
    let stop = Stop::new();
    listen(&stop);
    let mut harness = Harness::new().await;
    harness.calls.units = 2;
    harness.calls.answers(&address(0), vec![sent(Some(3))]);
    harness.calls.answers(&address(1), vec![sent(Some(2))]);
    harness.calls.answers(&address(2), vec![sent(None)]);
    let later = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(3), vec![later, sent(Some(5))]);
    harness.start().await;
    let job = harness.job(4);
    harness.publish(&job).await;
    let open = "SELECT COUNT(*) FROM messages WHERE state <> 'sent'";
    harness.until("accepted", |totals| totals.accepted).await;
    eventually("all are sent, one of them later", || async {
        harness.clock.advance(SignedDuration::from_millis(500));
        harness.number(open).await == 0
    })
    .await;
    for (position, kept) in [(0, 3), (1, 2), (2, -1), (3, 5)] {
        let sql = format!(
            "SELECT COALESCE(provider_parts, -1) FROM messages WHERE position = {position}"
        );
        assert_eq!(harness.number(&sql).await, kept, "of message {position}");
    }
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(totals.posted_units, 8);
    assert_shown("carillon_parts_differing_total{channel=\"sms\"} 2").await;
    let text = "the provider counts other parts than are posted";
    assert_warned_once(text, message(&job, 0), &["ours=2", "theirs=3", "messages=1"]);
    stop.now();
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_what_was_never_attempted_are_told_of_and_not_applied() {
    let stop = Stop::new();
    listen(&stop);
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(2);
    harness.purse = Some(purse);
    harness.start().await;
    let job = harness.job(3);
    harness.publish(&job).await;
    harness.until("accepted", |totals| totals.accepted).await;
    let state = "SELECT state || ' ' || reason FROM messages WHERE position = 2";
    assert_eq!(harness.text(state).await, "queued insufficient_balance");
    let evidence = |says| Evidence {
        organisation: organisation(),
        run_day: job.run_day,
        message: message(&job, 2),
        says,
        provider_code: String::new(),
    };
    let inbox = harness.evidence.lock().unwrap().clone().unwrap();
    for says in [Says::Delivered, Says::Sent] {
        inbox.keep(vec![evidence(says)]).await.unwrap();
        eventually("looked at", || async { inbox.waiting().await.unwrap() == 0 }).await;
    }
    // What came with it is applied: its end is that of the round.
    inbox
        .keep(vec![Evidence { message: message(&job, 0), ..evidence(Says::Delivered) }])
        .await
        .unwrap();
    let delivered = "SELECT COUNT(*) FROM messages WHERE state = 'delivered'";
    eventually("applied", || async { harness.number(delivered).await == 1 }).await;
    assert_eq!(harness.text(state).await, "queued insufficient_balance");
    let totals = harness.until("told", |totals| !totals.settled.is_empty()).await;
    assert_eq!(totals.posted_units, 2);
    assert_shown("carillon_evidence_baseless_total{channel=\"sms\"} 2").await;
    let text = "receipts for messages that were never sent";
    assert_warned_once(text, message(&job, 2), &["receipts=1"]);
    stop.now();
    harness.stop().await;
}
