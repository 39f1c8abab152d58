//! Gateways that take a message once only: a call in doubt is made again under the same id, and
//! what stays in doubt is never said to have failed.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use carillon_contracts::{events::v1::Totals, ids::OrganisationId, jobs::v1::SendJob};
use carillon_dispatch::{Evidence, Outcome, Says};
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

/// The provider proves that it never took these messages.
async fn never_accepted(harness: &Harness, job: &SendJob, messages: &[u32]) {
    let proof = |n: &u32| Evidence {
        organisation: OrganisationId::from_wire(&job.organisation_id).unwrap(),
        run_day: job.run_day,
        message: message(job, *n),
        says: Says::NeverAccepted,
        provider_code: "lost".into(),
    };
    let inbox = harness.evidence.lock().unwrap().clone().unwrap();
    inbox.keep(messages.iter().map(proof).collect()).await.unwrap();
}

async fn all_applied(harness: &Harness) {
    let inbox = harness.evidence.lock().unwrap().clone().unwrap();
    eventually("applied", || async { inbox.waiting().await.unwrap() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_about_the_only_call_lifts_the_doubt_and_about_one_of_several_does_not() {
    let harness = idempotent().await;
    harness.calls.answers(&address(0), vec![in_doubt()]);
    harness.calls.answers(&address(1), vec![in_doubt(), in_doubt()]);
    harness.start().await;
    let job = harness.job(2);
    harness.publish(&job).await;
    harness.until("waiting", |totals| waiting(totals, "retrying") == 2).await;
    never_accepted(&harness, &job, &[0]).await;
    all_applied(&harness).await;
    let doubtful = "SELECT COUNT(*) FROM messages WHERE doubtful";
    assert_eq!(harness.number(doubtful).await, 1);
    // Nothing is in doubt any more, so it may leave through another account.
    *harness.calls.account.lock().unwrap() = "another".into();
    harness.clock.advance(SignedDuration::from_secs(30));
    harness.until("sent", |totals| settled(totals, "sent") == 1).await;
    *harness.calls.account.lock().unwrap() = String::new();
    harness.clock.advance(SignedDuration::from_mins(2));
    eventually("called again", || async { harness.calls.of(message(&job, 1)) == 2 }).await;
    let again = "SELECT COUNT(*) FROM messages WHERE state = 'queued' AND attempt = 2";
    eventually("in doubt again", || async { harness.number(again).await == 1 }).await;
    never_accepted(&harness, &job, &[1]).await;
    all_applied(&harness).await;
    assert_eq!(harness.number(doubtful).await, 1);
    harness.clock.advance(SignedDuration::from_hours(2));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "unknown")), (1, 1));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_that_comes_before_the_end_of_its_call_waits_for_it() {
    let mut harness = Harness::new().await;
    let (open, gate) = tokio::sync::watch::channel(false);
    harness.calls.gate = Some(gate);
    harness.calls.answers(&address(0), vec![in_doubt()]);
    harness.start().await;
    let job = harness.job(2);
    harness.publish(&job).await;
    eventually("both are called", || async { harness.calls.total() == 2 }).await;
    never_accepted(&harness, &job, &[0, 1]).await;
    let sending = "SELECT COUNT(*) FROM messages WHERE state = 'sending'";
    assert_eq!(harness.number(sending).await, 2);
    open.send(true).unwrap();
    let totals = harness.until("proof", |totals| settled(totals, "failed") == 1).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "unknown")), (1, 0));
    let reason = "SELECT reason FROM messages WHERE state = 'failed'";
    assert_eq!(harness.text(reason).await, "never_accepted");
    all_applied(&harness).await;
    harness.stop().await;
}
