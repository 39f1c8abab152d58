//! Gateways that take a message once only: a call in doubt is made again under the same id, and
//! what stays in doubt is never said to have failed.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use carillon_contracts::events::v1::Totals;
use carillon_dispatch::Outcome;
use carillon_testkit::eventually;
use harness::{Harness, address, message};
use jiff::SignedDuration;

fn settled(totals: &Totals, state: &str) -> u32 {
    totals.settled.get(state).copied().unwrap_or_default()
}

fn waiting(totals: &Totals, reason: &str) -> u32 {
    totals.waiting.get(reason).copied().unwrap_or_default()
}

fn in_doubt() -> Outcome {
    Outcome::InDoubt { code: "cut".into() }
}

async fn idempotent() -> Harness {
    let mut harness = Harness::new().await;
    harness.calls.idempotent = true;
    harness
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_doubt_is_made_again_under_the_same_id() {
    let harness = idempotent().await;
    harness.calls.answers(&address(2), vec![in_doubt(), in_doubt()]);
    harness.start().await;
    let job = harness.job(5);
    harness.publish(&job).await;
    harness.until("waiting", |totals| waiting(totals, "retrying") == 1).await;
    for calls in 2..4 {
        harness.clock.advance(SignedDuration::from_secs(30));
        eventually("called again", || async { harness.calls.of(message(&job, 2)) >= calls }).await;
    }
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), harness.calls.of(message(&job, 2))), (5, 3));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_in_doubt_until_the_deadline_is_unknown() {
    let harness = idempotent().await;
    harness.calls.answers(&address(0), vec![in_doubt()]);
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(1), vec![in_doubt(), transient]);
    let refused = Outcome::Permanent { reason: "refused", code: "21211".into() };
    harness.calls.answers(&address(2), vec![in_doubt(), refused]);
    harness.start().await;
    let job = harness.job(3);
    harness.publish(&job).await;
    harness.until("waiting", |totals| waiting(totals, "retrying") == 3).await;
    harness.clock.advance(SignedDuration::from_secs(30));
    let all_again = || async { (0..3).all(|n| harness.calls.of(message(&job, n)) == 2) };
    eventually("called again", all_again).await;
    harness.until("proof", |totals| settled(totals, "failed") == 1).await;
    harness.until("sent", |totals| settled(totals, "sent") == 1).await;
    harness.clock.advance(SignedDuration::from_hours(2));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "unknown"), settled(&totals, "expired")), (1, 0));
    assert_eq!(totals.posted_units, 2);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_never_asked_about_a_call_in_doubt() {
    let harness = idempotent().await;
    harness.calls.answers(&address(0), vec![in_doubt()]);
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(1), vec![transient]);
    harness.start().await;
    let job = harness.job(2);
    harness.publish(&job).await;
    harness.until("waiting", |totals| waiting(totals, "retrying") == 2).await;
    *harness.calls.account.lock().unwrap() = "another".into();
    harness.clock.advance(SignedDuration::from_secs(30));
    harness.until("the other is sent", |totals| settled(totals, "sent") == 1).await;
    harness.clock.advance(SignedDuration::from_hours(2));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "unknown"), 1);
    assert_eq!(harness.calls.of(message(&job, 0)), 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_doubt_is_called_again_at_its_own_account_while_others_go_elsewhere() {
    let harness = idempotent().await;
    harness.calls.answers(&address(0), vec![in_doubt(), in_doubt()]);
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(1), vec![transient]);
    harness.start().await;
    let job = harness.job(2);
    harness.publish(&job).await;
    harness.until("waiting", |totals| waiting(totals, "retrying") == 2).await;
    *harness.calls.account.lock().unwrap() = "another".into();
    *harness.calls.former.lock().unwrap() = "harness".into();
    harness.clock.advance(SignedDuration::from_secs(30));
    harness.until("the other is sent", |totals| settled(totals, "sent") == 1).await;
    for calls in 2..4 {
        eventually("called again", || async { harness.calls.of(message(&job, 0)) >= calls }).await;
        harness.clock.advance(SignedDuration::from_secs(30));
    }
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "sent"), 2);
    let by = harness.calls.by.lock().unwrap().clone();
    let of = |n| {
        let id = message(&job, n);
        let of = by.iter().filter(move |call| call.0 == id);
        of.map(|(_, account, in_doubt)| (account.as_str(), *in_doubt)).collect::<Vec<_>>()
    };
    assert_eq!(of(0), [("harness", false), ("harness", true), ("harness", true)]);
    assert_eq!(of(1), [("harness", false), ("another", false)]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_in_hand_is_called_again() {
    let mut harness = idempotent().await;
    harness.calls.hang = true;
    harness.start().await;
    let job = harness.job(100);
    harness.publish(&job).await;
    eventually("in hand", || async { harness.calls.total() == 100 }).await;
    harness.kill();
    harness.calls.hang = false;
    harness.start().await;
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), harness.calls.total()), (100, 200));
    harness.stop().await;
}
