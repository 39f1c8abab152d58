//! What holds messages up, ends them, or tells of them afterwards: halts, opt-outs, throttles and
//! receipts.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use carillon_broker::topology;
use carillon_contracts::{
    events::v1::{CampaignHalted, Halt, Suppression, SuppressionChanged, Totals, event::Body},
    ids::{BatchId, CampaignId, OrganisationId, RunId},
    jobs::v1::Channel,
};
use carillon_dispatch::{Evidence, Says, Throttle};
use carillon_outbox::{CreateOutbox, Outbox};
use carillon_service_kit::{Clock, Stop};
use carillon_testkit::{TestDatabase, eventually};
use harness::{Harness, Purse, customer, message};
use jiff::SignedDuration;
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use uuid::Uuid;

struct Teller {
    outbox: Outbox,
    database: TestDatabase,
    stop: Stop,
}

struct OutboxAlone;

#[async_trait::async_trait]
impl MigratorTrait for OutboxAlone {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOutbox)]
    }
}

fn campaign() -> CampaignId {
    CampaignId::new(Uuid::from_u128(1))
}

fn organisation() -> OrganisationId {
    OrganisationId::new(Uuid::from_u128(5))
}

impl Teller {
    /// Another service, which tells what happened there.
    async fn new(harness: &Harness, service: &'static str) -> Self {
        let database = carillon_testkit::database::<OutboxAlone>().await;
        let (broker, stop) = (harness.broker.again().await, Stop::new());
        let outbox = Outbox::new(service, database.database.clone(), broker, harness.clock.clone());
        outbox.spawn(&stop);
        Self { outbox, database, stop }
    }

    async fn tell(&self, body: Body) {
        let tx = self.database.database.begin().await.unwrap();
        self.outbox.append(&tx, organisation(), body).await.unwrap();
        tx.commit().await.unwrap();
        self.outbox.wake();
    }

    async fn halt(&self, halt: Halt, version: u64) {
        let halted =
            CampaignHalted { campaign_id: campaign().to_wire(), halt: halt.into(), version };
        self.tell(Body::CampaignHalted(halted)).await;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stop.now();
    }
}

fn settled(totals: &Totals, state: &str) -> u32 {
    totals.settled.get(state).copied().unwrap_or_default()
}

async fn halted(harness: &Harness, word: &str) {
    let sql = format!("SELECT COUNT(*) FROM halts WHERE halt = '{word}'");
    eventually("the halt is heard", || async { harness.number(&sql).await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_campaign_waits_and_resumed_sends_each_of_the_rest_once() {
    let mut harness = Harness::new().await;
    let (open, gate) = tokio::sync::watch::channel(false);
    harness.calls.gate = Some(gate);
    harness.start().await;
    let teller = Teller::new(&harness, topology::CAMPAIGN_API).await;
    let job = harness.job(500);
    harness.publish(&job).await;
    eventually("all permits in use", || async { harness.calls.total() == 128 }).await;
    teller.halt(Halt::Paused, 2).await;
    halted(&harness, "paused").await;
    open.send(true).unwrap();
    let totals = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!((settled(&totals, "sent"), totals.waiting["paused"]), (128, 372));
    assert_eq!(harness.calls.total(), 128);
    // An older word that comes late changes nothing.
    teller.halt(Halt::Running, 1).await;
    teller.halt(Halt::Running, 3).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!(settled(&totals, "sent"), 500);
    assert_eq!(harness.calls.total(), 500);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_campaign_sends_nothing_more_whether_delivered_waiting_or_to_come() {
    let mut harness = Harness::new().await;
    let (open, gate) = tokio::sync::watch::channel(false);
    harness.calls.gate = Some(gate);
    harness.start().await;
    let teller = Teller::new(&harness, topology::CAMPAIGN_API).await;
    let job = harness.job(300);
    harness.publish(&job).await;
    eventually("all permits in use", || async { harness.calls.total() == 128 }).await;
    teller.halt(Halt::Paused, 1).await;
    halted(&harness, "paused").await;
    open.send(true).unwrap();
    harness.until("accepted", |totals| totals.accepted).await;
    teller.halt(Halt::Cancelled, 2).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "cancelled")), (128, 172));
    assert_eq!((totals.posted_units, totals.needed_units), (128, 128));
    let run = RunId::of(campaign(), "later");
    let later = harness.of_another_run(harness.job(300), run);
    harness.publish(&later).await;
    let batch = BatchId::of(run, Channel::Sms, 0);
    eventually("the later one is closed", || async { harness.told_of(batch).await.0.closed }).await;
    assert_eq!(settled(&harness.told_of(batch).await.0, "cancelled"), 300);
    assert_eq!(harness.calls.total(), 128);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_organisation_waits_and_sends_each_once_when_it_goes_on() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(50);
    harness.purse = Some(purse.clone());
    harness.calls.paused.store(true, Ordering::Relaxed);
    harness.start().await;
    harness.publish(&harness.job(50)).await;
    let totals = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!((totals.waiting["paused"], harness.calls.total()), (50, 0));
    // It is looked at again, and waits on.
    let next_look = "SELECT next_due_at FROM batches";
    let first_look = harness.number(next_look).await;
    harness.clock.advance(SignedDuration::from_secs(10));
    eventually("looked at", || async { harness.number(next_look).await > first_look }).await;
    assert_eq!(purse.asked.lock().unwrap().len(), 0, "nothing is held while nothing is sent");
    harness.calls.paused.store(false, Ordering::Relaxed);
    harness.clock.advance(SignedDuration::from_secs(10));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), harness.calls.total()), (50, 50));
    assert_eq!(purse.asked.lock().unwrap().len(), 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opted_out_is_suppressed_on_this_channel_alone_and_may_come_back() {
    let harness = Harness::new().await;
    harness.start().await;
    let teller = Teller::new(&harness, topology::SEGMENT_EVALUATOR).await;
    let one = |n: u32, channel: Channel, version, suppressed| Suppression {
        customer_id: customer(n).to_wire(),
        channel: channel.into(),
        version,
        suppressed,
    };
    let suppressions = vec![
        one(1, Channel::Sms, 1, true),
        one(2, Channel::Email, 1, true),
        one(3, Channel::Sms, 2, false),
        one(3, Channel::Sms, 1, true),
        one(4, Channel::Sms, 5, true),
    ];
    teller.tell(Body::SuppressionChanged(SuppressionChanged { suppressions })).await;
    let heard = "SELECT COUNT(*) FROM suppressions";
    eventually("they are heard", || async { harness.number(heard).await == 3 }).await;
    let job = harness.job(10);
    harness.publish(&job).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "suppressed")), (8, 2));
    assert_eq!(harness.calls.of(message(&job, 1)) + harness.calls.of(message(&job, 4)), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_only_raise_whatever_their_order_and_number() {
    let mut harness = Harness::new().await;
    let (open, gate) = tokio::sync::watch::channel(false);
    harness.calls.gate = Some(gate);
    harness.start().await;
    let job = harness.job(6);
    harness.publish(&job).await;
    eventually("all are called", || async { harness.calls.total() == 6 }).await;
    let evidence = |n: u32, says| Evidence {
        organisation: organisation(),
        run_day: job.run_day,
        message: message(&job, n),
        says,
        provider_code: String::new(),
    };
    let inbox = harness.evidence.lock().unwrap().clone().unwrap();
    // Before the call itself has answered.
    inbox.keep(vec![evidence(0, Says::Delivered), evidence(5, Says::NeverAccepted)]).await.unwrap();
    let delivered = "SELECT COUNT(*) FROM messages WHERE state = 'delivered'";
    eventually("applied", || async { harness.number(delivered).await == 1 }).await;
    open.send(true).unwrap();
    harness.until("closed", |totals| totals.closed).await;
    let mut late = Vec::new();
    for _ in 0..10 {
        late.extend([
            evidence(1, Says::Delivered),
            evidence(1, Says::Undelivered),
            evidence(1, Says::Sent),
            evidence(2, Says::Undelivered),
            evidence(3, Says::NeverAccepted),
            evidence(999, Says::Delivered),
            Evidence {
                organisation: OrganisationId::new(Uuid::from_u128(6)),
                ..evidence(4, Says::Delivered)
            },
        ]);
    }
    inbox.keep(late).await.unwrap();
    eventually("all applied", || async { inbox.waiting().await.unwrap() == 0 }).await;
    let totals = harness.until("told", |totals| settled(totals, "undelivered") == 1).await;
    assert_eq!((settled(&totals, "delivered"), settled(&totals, "sent")), (2, 3));
    assert_eq!(totals.posted_units, 6);
    assert_eq!(harness.calls.total(), 6);
    harness.stop().await;
}

/// At the pace of the throttle it would take nine minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_takes_no_tokens() {
    let mut harness = Harness::new().await;
    harness.clock = Clock::system();
    let (pause, gap) = (Duration::ZERO, Duration::from_secs(1));
    harness.calls.throttle = Some(Throttle::Series { mails: 0, pause, gap });
    harness.start().await;
    let teller = Teller::new(&harness, topology::CAMPAIGN_API).await;
    let job = harness.job(500);
    harness.publish(&job).await;
    eventually("it has begun", || async { harness.calls.total() > 0 }).await;
    teller.halt(Halt::Cancelled, 1).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert!(settled(&totals, "cancelled") > 490, "{totals:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_holds_over_replicas() {
    let mut harness = Harness::new().await;
    harness.clock = Clock::system();
    let gap = Duration::from_millis(60);
    harness.calls.throttle =
        Some(Throttle::Series { mails: 5, pause: Duration::from_secs(1), gap });
    harness.start().await;
    if carillon_testkit::is_distributed() {
        harness.start().await;
    }
    let job = harness.job(16);
    harness.publish(&job).await;
    let other = harness.of_another_run(harness.job(4), RunId::of(campaign(), "other"));
    harness.publish(&other).await;
    eventually("all are called", || async { harness.calls.total() == 20 }).await;
    let times = harness.calls.times.lock().unwrap().clone();
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= gap - Duration::from_millis(10), "{:?}", pair[1] - pair[0]);
    }
    for six in times.windows(6) {
        assert!(six[5] - six[0] >= Duration::from_secs(1), "{:?}", six[5] - six[0]);
    }
    let calls = Arc::clone(&harness.calls.made);
    assert!(calls.lock().unwrap().values().all(|times| *times == 1));
    harness.stop().await;
}
