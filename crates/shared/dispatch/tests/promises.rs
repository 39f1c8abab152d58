//! What a dispatcher promises, on a real database and a broker.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::time::Duration;

use carillon_contracts::{
    events::v1::BalanceRaised,
    ids::{BatchId, CampaignId, RunId},
    jobs::v1::{Cause, Channel, Recipient},
    time,
};
use carillon_dispatch::Outcome;
use carillon_service_kit::database::Sql as _;
use carillon_testkit::eventually;
use harness::{Harness, Purse, address, message};
use jiff::SignedDuration;
use uuid::Uuid;

fn settled(totals: &carillon_contracts::events::v1::Totals, state: &str) -> u32 {
    totals.settled.get(state).copied().unwrap_or_default()
}

fn waiting(totals: &carillon_contracts::events::v1::Totals, reason: &str) -> u32 {
    totals.waiting.get(reason).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_delivered_twice_is_sent_once_and_its_totals_come_again() {
    let harness = Harness::new().await;
    harness.start().await;
    let job = harness.job(200);
    harness.publish(&job).await;
    let first = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&first, "sent"), first.posted_units), (200, 200));
    harness.publish(&job).await;
    let again = harness.until("totals again", |totals| totals.version > first.version).await;
    assert!(again.closed && again.accepted);
    assert_eq!(harness.calls.total(), 200);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_in_hand_at_once_are_sent_once() {
    let harness = Harness::new().await;
    let job = harness.job(500);
    for _ in 0..5 {
        harness.publish(&job).await;
    }
    harness.start().await;
    harness.until("closed", |totals| totals.closed).await;
    eventually("all acked", || async { harness.job_depth().await == 0 }).await;
    assert_eq!(harness.calls.total(), 500);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_in_hand_becomes_unknown_and_is_never_called_again() {
    let mut harness = Harness::new().await;
    harness.calls.hang = true;
    harness.start().await;
    let job = harness.job(500);
    harness.publish(&job).await;
    eventually("all permits in use", || async { harness.calls.total() == 128 }).await;
    let called_before: Vec<u32> =
        (0..500).filter(|n| harness.calls.of(message(&job, *n)) > 0).collect();
    harness.kill();
    harness.calls.hang = false;
    harness.start().await;
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "unknown"), settled(&totals, "sent")), (128, 372));
    assert_eq!(totals.posted_units, 500);
    for n in called_before {
        assert_eq!(harness.calls.of(message(&job, n)), 1, "message {n}");
    }
    assert_eq!(harness.calls.total(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_declared_dead_goes_on_with_a_new_epoch() {
    let harness = Harness::new().await;
    harness.start().await;
    harness.run("UPDATE workers SET dead = TRUE").await;
    harness.publish(&harness.job(100)).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), harness.calls.total()), (100, 100));
    let under = "SELECT COUNT(DISTINCT worker_epoch) FROM messages";
    assert_eq!(harness.number(under).await, 1);
    assert_eq!(harness.number("SELECT COUNT(*) FROM workers WHERE NOT dead").await, 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_is_tried_again_after_a_while_and_a_permanent_one_is_not() {
    let harness = Harness::new().await;
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(3), vec![transient.clone(), transient]);
    let permanent = Outcome::Permanent { reason: "refused", code: "21211".into() };
    harness.calls.answers(&address(4), vec![permanent]);
    harness.calls.answers(&address(5), vec![Outcome::InDoubt { code: "cut".into() }]);
    harness.start().await;
    let job = harness.job(10);
    harness.publish(&job).await;
    let first = harness.until("accepted", |totals| totals.accepted).await;
    assert!(!first.closed);
    assert_eq!(waiting(&first, "retrying"), 1);
    assert_eq!(first.needed_units, 9, "the failed one gives its unit back");
    for _ in 0..2 {
        harness.clock.advance(SignedDuration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "failed")), (8, 1));
    assert_eq!(settled(&totals, "unknown"), 1);
    assert_eq!(harness.calls.of(message(&job, 3)), 3);
    assert_eq!(harness.calls.of(message(&job, 4)), 1);
    assert_eq!(harness.calls.of(message(&job, 5)), 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_block_is_kept_only_while_something_is_open() {
    let harness = Harness::new().await;
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(1), vec![transient]);
    harness.start().await;
    harness.publish(&harness.job(5)).await;
    harness.until("accepted", |totals| totals.accepted).await;
    let kept = "SELECT COUNT(*) FROM batches WHERE job IS NOT NULL";
    assert_eq!(harness.number(kept).await, 1);
    harness.clock.advance(SignedDuration::from_secs(10));
    harness.until("closed", |totals| totals.closed).await;
    assert_eq!(harness.number(kept).await, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_waiting_messages_expire_without_a_call() {
    let harness = Harness::new().await;
    let later =
        Outcome::Transient { code: "429".into(), retry_after: Some(Duration::from_secs(30 * 60)) };
    let too_late =
        Outcome::Transient { code: "429".into(), retry_after: Some(Duration::from_secs(2 * 3600)) };
    harness.calls.answers(&address(0), vec![later]);
    harness.calls.answers(&address(1), vec![too_late]);
    harness.start().await;
    let job = harness.job(3);
    harness.publish(&job).await;
    let first = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!((settled(&first, "expired"), waiting(&first, "retrying")), (1, 1));
    harness.clock.advance(SignedDuration::from_hours(2));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "expired")), (1, 2));
    assert_eq!((totals.posted_units, totals.needed_units), (1, 1));
    assert_eq!(harness.calls.total(), 3);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_past_its_deadline_is_settled_without_a_call() {
    let harness = Harness::new().await;
    harness.start().await;
    let mut job = harness.job(100);
    job.block = None;
    job.cause = Cause::Expired.into();
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "expired"), totals.needed_units), (100, 0));
    assert_eq!(harness.calls.total(), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_paid_for_waits_and_goes_when_money_arrives() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(30);
    harness.purse = Some(purse.clone());
    harness.start().await;
    harness.publish(&harness.job(100)).await;
    let short = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!(settled(&short, "sent"), 30);
    assert_eq!(waiting(&short, "insufficient_balance"), 70);
    assert_eq!((short.posted_units, short.needed_units), (30, 100));
    *purse.granted.lock().unwrap() = Some(80);
    raise(&harness).await;
    let more = harness.until("more sent", |totals| settled(totals, "sent") == 80).await;
    assert_eq!(waiting(&more, "insufficient_balance"), 20);
    harness.clock.advance(SignedDuration::from_hours(2));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "expired")), (80, 20));
    assert_eq!(harness.calls.total(), 80);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_costs_what_the_batch_says_and_one_unit_where_it_says_nothing() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(4);
    harness.purse = Some(purse.clone());
    harness.start().await;
    let recipient = |n, rate| Recipient { address: address(n), rate, ..Recipient::default() };
    harness.publish(&harness.job_of(vec![recipient(0, 3), recipient(1, 2), recipient(2, 0)])).await;
    let short = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!((settled(&short, "sent"), waiting(&short, "insufficient_balance")), (2, 1));
    assert_eq!((short.posted_units, short.needed_units, short.posted_parts), (4, 6, Some(2)));
    *purse.granted.lock().unwrap() = Some(6);
    raise(&harness).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((totals.posted_units, totals.needed_units, totals.posted_parts), (6, 6, Some(3)));
    for (position, units) in [(0, 3), (1, 2), (2, 1)] {
        let of = format!("FROM messages WHERE position = {position}");
        let cost = (
            harness.number(&format!("SELECT units {of}")).await,
            harness.number(&format!("SELECT parts {of}")).await,
        );
        assert_eq!(cost, (units, 1));
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_lets_one_that_waits_for_money_go() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(3);
    harness.purse = Some(purse);
    let refused = Outcome::Permanent { reason: "refused", code: String::new() };
    harness.calls.answers(&address(1), vec![refused]);
    harness.start().await;
    harness.publish(&harness.job(4)).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "failed")), (3, 1));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_hears_what_is_still_to_be_paid_for() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(6);
    harness.purse = Some(purse.clone());
    harness.calls.units = 3;
    let refused = Outcome::Permanent { reason: "refused", code: String::new() };
    harness.calls.answers(&address(0), vec![refused]);
    harness.start().await;
    harness.publish(&harness.job(5)).await;
    harness.until("two sent", |totals| settled(totals, "sent") == 2).await;
    let first = purse.asked.lock().unwrap()[0].clone();
    assert_eq!((first.wanted, first.used, first.units), (15, 0, vec![3; 5]));
    *purse.granted.lock().unwrap() = Some(9);
    raise(&harness).await;
    harness.until("one more", |totals| settled(totals, "sent") == 3).await;
    let last = purse.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.wanted, last.used, last.units), (15, 6, vec![3; 2]));
    assert_eq!((last.batch, last.run), (first.batch, first.run));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_message_fits_in_is_given_back_once_and_not_spent_again() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(5);
    harness.purse = Some(purse.clone());
    harness.calls.units = 3;
    harness.start().await;
    harness.publish(&harness.job(4)).await;
    let short = harness.until("given back", |totals| totals.returned_units > 0).await;
    assert_eq!((short.returned_units, short.needed_units), (2, 12));
    // Five were granted and two came back: with three more there are six to spend.
    *purse.granted.lock().unwrap() = Some(8);
    raise(&harness).await;
    let more = harness.until("one more", |totals| settled(totals, "sent") == 2).await;
    assert_eq!((more.returned_units, more.posted_units), (2, 6));
    *purse.granted.lock().unwrap() = Some(10);
    harness.clock.advance(SignedDuration::from_secs(61));
    let same = harness.until("given back too", |totals| totals.returned_units == 4).await;
    assert_eq!((settled(&same, "sent"), waiting(&same, "insufficient_balance")), (2, 2));
    assert_eq!(harness.calls.total(), 2);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_wait_for_money_ask_one_by_one_the_earliest_deadline_first() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(0);
    harness.purse = Some(purse.clone());
    harness.start().await;
    let mut by_deadline = Vec::new();
    for hours in [5_u32, 2, 7, 1, 6, 3, 4] {
        let run = RunId::of(CampaignId::new(Uuid::from_u128(1)), &hours.to_string());
        let mut job = harness.of_another_run(harness.job(2), run);
        let deadline = harness.clock.now() + SignedDuration::from_hours(hours.into());
        job.deadline = Some(time::to_wire(deadline));
        harness.publish(&job).await;
        by_deadline.push((hours, BatchId::of(run, Channel::Sms, 0)));
    }
    by_deadline.sort();
    let by_deadline: Vec<BatchId> = by_deadline.into_iter().map(|(_, batch)| batch).collect();
    let waiting = "SELECT COUNT(*) FROM batches WHERE waits_for_money AND job IS NOT NULL";
    eventually("all wait", || async { harness.number(waiting).await == 7 }).await;
    purse.asked.lock().unwrap().clear();
    purse.answered.lock().unwrap().clear();
    *purse.crossed.lock().unwrap() = 0;
    raise(&harness).await;
    eventually("all have asked", || async { purse.answered.lock().unwrap().len() == 7 }).await;
    assert_eq!(*purse.answered.lock().unwrap(), by_deadline);
    assert_eq!(*purse.crossed.lock().unwrap(), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_billing_messages_wait_and_then_go_on() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    harness.purse = Some(purse.clone());
    harness.start().await;
    harness.publish(&harness.job(10)).await;
    let stuck = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!(waiting(&stuck, "billing_unavailable"), 10);
    *purse.granted.lock().unwrap() = Some(10);
    harness.clock.advance(SignedDuration::from_secs(61));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "sent"), 10);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_leaves_nothing_unknown() {
    let harness = Harness::new().await;
    harness.start().await;
    let job = harness.job(500);
    harness.publish(&job).await;
    eventually("some are sent", || async { harness.calls.total() > 50 }).await;
    harness.stop().await;
    harness.start().await;
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "sent"), 500);
    assert_eq!(harness.calls.total(), 500);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_cannot_be_used_fails_its_messages() {
    let harness = Harness::new().await;
    harness.start().await;
    let mut job = harness.job(3);
    job.content = Some(carillon_contracts::jobs::v1::Content::default());
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "failed"), totals.posted_units), (3, 0));
    let (_, changes) = harness.told().await;
    assert!(changes.iter().all(|(_, _, reason)| reason == "content_invalid"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_panics_is_in_doubt_and_holds_up_nobody() {
    let mut harness = Harness::new().await;
    harness.calls.panics = Some(address(7));
    harness.start().await;
    harness.publish(&harness.job(20)).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "unknown")), (19, 1));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_delivery_panics_is_parked_and_the_others_are_sent() {
    let harness = Harness::new().await;
    harness.start().await;
    let mut panicking = harness.job(3);
    panicking.content.as_mut().unwrap().sms.as_mut().unwrap().text = harness::PANIC.into();
    harness.publish(&panicking).await;
    let run = carillon_contracts::ids::RunId::new(uuid::Uuid::from_u128(42));
    harness.publish(&harness.of_another_run(harness.job(50), run)).await;
    eventually("the others are sent", || async { harness.calls.total() == 50 }).await;
    let parked = "SELECT COUNT(*) FROM parked";
    eventually("it is parked", || async { harness.number(parked).await == 1 }).await;
    let error = harness.text("SELECT error FROM parked").await;
    assert!(error.starts_with("it panicked: "), "{error}");
    eventually("it is acked", || async { harness.job_depth().await == 0 }).await;
    // The worker lives on.
    let run = carillon_contracts::ids::RunId::new(uuid::Uuid::from_u128(43));
    harness.publish(&harness.of_another_run(harness.job(5), run)).await;
    eventually("later ones are sent", || async { harness.calls.total() == 55 }).await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_retry_holds_is_delivered_until_every_recipient_has_a_row() {
    let harness = Harness::new().await;
    harness.start().await;
    let mut job = harness.job(300);
    job.deadline = Some(carillon_contracts::time::to_wire(harness.clock.now()));
    for _ in 0..3 {
        harness.publish(&job).await;
    }
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "expired"), 300, "too late is settled, sealed block or not");
    eventually("all acked", || async { harness.job_depth().await == 0 }).await;
    assert_eq!(harness.calls.total(), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_batch_does_not_hold_up_another() {
    let harness = Harness::new().await;
    harness.start().await;
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(0), vec![transient]);
    let damaged = harness.job(1);
    harness.publish(&damaged).await;
    harness.until("accepted", |totals| totals.accepted).await;
    harness.run("UPDATE messages SET state = 'nonsense'").await;
    harness.run("UPDATE batches SET accepted = FALSE").await;
    harness.publish(&damaged).await;
    let mut sound = harness.job(50);
    let run = carillon_contracts::ids::RunId::new(uuid::Uuid::from_u128(42));
    sound = harness.of_another_run(sound, run);
    harness.publish(&sound).await;
    eventually("the sound one is sent", || async { harness.calls.total() >= 51 }).await;
}

/// What billing tells when credits arrive.
async fn raise(harness: &Harness) {
    let billing = carillon_testkit::database::<carillon_dispatch::Migrator>().await;
    let stop = carillon_service_kit::Stop::new();
    let outbox = carillon_outbox::Outbox::new(
        carillon_broker::topology::BILLING,
        billing.database.clone(),
        harness.broker.again().await,
        harness.clock.clone(),
    );
    outbox.spawn(&stop);
    let organisation = carillon_contracts::ids::OrganisationId::new(uuid::Uuid::from_u128(5));
    let tx = billing.database.begin().await.unwrap();
    let raised =
        carillon_contracts::events::v1::event::Body::BalanceRaised(BalanceRaised { available: 50 });
    outbox.append(&tx, organisation, raised).await.unwrap();
    tx.commit().await.unwrap();
    outbox.wake();
    eventually("passed on", || async {
        let sql = "SELECT 1 FROM outbox WHERE sent_at IS NOT NULL";
        billing.database.reader().row(sql, []).await.unwrap().is_some()
    })
    .await;
    stop.now();
}
