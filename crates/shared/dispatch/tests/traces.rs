//! What is told of a batch goes on in the trace that it came with, whoever tells it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use carillon_contracts::{
    events::v1::Totals,
    ids::{BatchId, OrganisationId},
    jobs::v1::SendJob,
};
use carillon_dispatch::{Evidence, Outcome, Says};
use carillon_testkit::eventually;
use harness::{Harness, address, message};
use jiff::SignedDuration;
use uuid::Uuid;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn settled(totals: &Totals, state: &str) -> u32 {
    totals.settled.get(state).copied().unwrap_or_default()
}

/// How often the batch was told of, each time in its trace.
async fn told(harness: &Harness, job: &SendJob) -> usize {
    let traces = harness.traces_of(BatchId::from_wire(&job.batch_id).unwrap()).await;
    assert!(traces.keys().all(|trace| trace == TRACE), "{traces:?}");
    traces.values().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_retries_and_receipts_tell_of_the_same_trace() {
    let harness = Harness::new().await;
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(0), vec![transient]);
    harness.start().await;
    let mut job = harness.job(3);
    job.traceparent = TRACE.into();
    harness.publish(&job).await;
    harness.until("accepted", |totals| totals.accepted).await;
    let by_delivery = told(&harness, &job).await;
    harness.clock.advance(SignedDuration::from_secs(30));
    harness.until("closed", |totals| totals.closed).await;
    let by_retry = told(&harness, &job).await;
    let delivered = Evidence {
        organisation: OrganisationId::new(Uuid::from_u128(5)),
        run_day: job.run_day,
        message: message(&job, 1),
        says: Says::Delivered,
        provider_code: String::new(),
    };
    let inbox = harness.evidence.lock().unwrap().clone().unwrap();
    inbox.keep(vec![delivered]).await.unwrap();
    harness.until("delivered", |totals| settled(totals, "delivered") == 1).await;
    let by_receipt = told(&harness, &job).await;
    assert!(0 < by_delivery && by_delivery < by_retry && by_retry < by_receipt);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_tells_of_the_same_trace() {
    let mut harness = Harness::new().await;
    harness.calls.hang = true;
    harness.start().await;
    let mut job = harness.job(3);
    job.traceparent = TRACE.into();
    harness.publish(&job).await;
    eventually("in hand", || async { harness.calls.total() == 3 }).await;
    harness.kill();
    harness.calls.hang = false;
    harness.start().await;
    harness.until("taken over", |totals| settled(totals, "unknown") == 3).await;
    assert!(told(&harness, &job).await > 0);
    harness.stop().await;
}
