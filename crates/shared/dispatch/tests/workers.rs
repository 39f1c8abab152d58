//! Two workers on one database. Embedded there is one alone, and the lock of the data folder keeps
//! a second one away; so these promises are PostgreSQL's.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{sync::atomic::Ordering, time::Duration};

use carillon_contracts::{
    events::v1::Totals,
    ids::{BatchId, RunId},
};
use carillon_dispatch::Outcome;
use carillon_testkit::{eventually, is_distributed};
use harness::{Harness, address, message, proxy::Proxy};
use uuid::Uuid;

const EPOCHS: &str = "SELECT COALESCE(SUM(epoch), 0)::bigint FROM workers WHERE NOT dead";
const ALIVE: &str = "SELECT COUNT(*) FROM workers WHERE NOT dead";

fn settled(totals: &Totals, state: &str) -> u32 {
    totals.settled.get(state).copied().unwrap_or_default()
}

async fn name_of(harness: &Harness) -> String {
    harness.text("SELECT current_database()::text").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lives_is_left_alone_and_who_is_killed_is_taken_over() {
    if !is_distributed() {
        return;
    }
    let mut harness = Harness::new().await;
    harness.calls.hang = true;
    harness.start().await;
    let job = harness.job(500);
    harness.publish(&job).await;
    eventually("all permits in use", || async { harness.calls.total() == 128 }).await;
    harness.calls.hang = false;
    harness.start().await;
    harness.publish(&job).await;
    let rest = "SELECT COUNT(*) FROM messages WHERE state = 'sent'";
    eventually("the other does the rest", || async { harness.number(rest).await == 372 }).await;
    assert_eq!(harness.number("SELECT COUNT(*) FROM messages WHERE state = 'unknown'").await, 0);
    harness.kill();
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "unknown"), settled(&totals, "sent")), (128, 372));
    assert_eq!(harness.calls.total(), 500);
    eventually("nothing is left of it", || async { harness.number(ALIVE).await == 1 }).await;
    eventually("swept", || async { harness.number("SELECT COUNT(*) FROM workers").await == 1 })
        .await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_corrects_its_own_unknown_and_goes_on_with_a_new_epoch() {
    if !is_distributed() {
        return;
    }
    let mut harness = Harness::new().await;
    let (open, gate) = tokio::sync::watch::channel(false);
    harness.calls.gate = Some(gate);
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(0), vec![transient]);
    harness.calls.answers(&address(1), vec![Outcome::InDoubt { code: "cut".into() }]);
    harness.start().await;
    let job = harness.job(60);
    harness.publish(&job).await;
    eventually("in hand", || async { harness.calls.total() == 60 }).await;
    harness.start().await;
    harness
        .run("UPDATE workers SET dead = TRUE WHERE epoch = (SELECT MIN(epoch) FROM workers)")
        .await;
    harness.until("taken over", |totals| settled(totals, "unknown") == 60).await;
    eventually("a new epoch", || async { harness.number(ALIVE).await == 2 }).await;
    open.send_replace(true);
    let totals = harness.until("corrected", |totals| settled(totals, "sent") == 58).await;
    assert!(settled(&totals, "unknown") <= 2);
    let totals = harness.until("closed", |totals| settled(totals, "failed") == 1).await;
    assert_eq!(settled(&totals, "unknown"), 1, "what is in doubt stays so");
    assert!(totals.closed);
    for n in 0..60 {
        assert_eq!(harness.calls.of(message(&job, n)), 1, "message {n}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_for_a_while_kills_nobody() {
    if !is_distributed() {
        return;
    }
    let mut harness = Harness::new().await;
    harness.beat = Duration::from_secs(1);
    let proxy = Proxy::start().await;
    for _ in 0..2 {
        harness.start_on(proxy.clone().connect(name_of(&harness).await)).await;
    }
    let before = harness.number(EPOCHS).await;
    let beats = "SELECT MIN(beats) FROM heartbeats";
    eventually("both beat", || async { harness.number(beats).await > 2 }).await;
    proxy.stall_for(Duration::from_secs(12)).await;
    let stalled = harness.number(beats).await;
    eventually("both go on", || async { harness.number(beats).await > stalled + 10 }).await;
    assert_eq!(harness.number(EPOCHS).await, before, "the same two are alive");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_that_race_call_for_each_message_once() {
    if !is_distributed() {
        return;
    }
    let harness = Harness::new().await;
    harness.start().await;
    harness.start().await;
    let mut published = 0;
    for round in 0..12_u32 {
        let run = RunId::new(Uuid::from_u128(u128::from(round) + 900));
        let job = harness.of_another_run(harness.job(40 + 35 * round), run);
        for _ in 0..=round % 4 {
            harness.publish(&job).await;
        }
        published += 40 + 35 * round;
    }
    let open = "SELECT COUNT(*) FROM batches WHERE NOT closed";
    let rows = "SELECT COUNT(*) FROM messages WHERE state = 'sent'";
    eventually("all sent", || async { harness.number(rows).await == i64::from(published) }).await;
    eventually("all closed", || async { harness.number(open).await == 0 }).await;
    assert_eq!(harness.calls.total(), published);
    eventually("all acked", || async { harness.job_depth().await == 0 }).await;
    harness.stop().await;
    assert_eq!(harness.calls.total(), published, "nor when they come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_loses_and_repeats_nothing() {
    if !is_distributed() {
        return;
    }
    let harness = Harness::new().await;
    let proxy = Proxy::start().await;
    harness.start_on(proxy.clone().connect(name_of(&harness).await)).await;
    let job = harness.job(500);
    proxy.to_lose.store(12, Ordering::SeqCst);
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "unknown")), (500, 0));
    assert!(proxy.lost.load(Ordering::SeqCst) > 3, "answers were lost on the way");
    assert_eq!(harness.calls.total(), 500);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_claim_that_nobody_holds_are_given_back() {
    if !is_distributed() {
        return;
    }
    let harness = Harness::new().await;
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(0), vec![transient]);
    harness.start().await;
    let job = harness.job(3);
    harness.publish(&job).await;
    harness.until("waiting", |totals| totals.accepted).await;
    // As if a claim had been committed, and its answer never came.
    harness
        .run(
            "UPDATE messages SET state = 'sending', claim = -1, attempt = attempt + 1
              WHERE position = 0",
        )
        .await;
    let totals = harness.until("sent", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "sent"), 3);
    assert_eq!(harness.calls.of(message(&job, 0)), 2);
    let attempts = "SELECT attempt FROM messages WHERE position = 0";
    assert_eq!(harness.number(attempts).await, 2, "the attempt was undone");
    let batch = BatchId::from_wire(&job.batch_id).unwrap();
    assert!(harness.told_of(batch).await.1.iter().any(|(_, _, reason)| reason == "backlog"));
    harness.stop().await;
}
