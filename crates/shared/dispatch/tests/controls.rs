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
    jobs::v1::{Channel, Recipient},
};
use carillon_dispatch::{Evidence, Outcome, Says, Throttle};
use carillon_numbering::Markets;
use carillon_outbox::{AddDocuments, CreateOutbox, Outbox};
use carillon_service_kit::{Clock, Stop, metrics};
use carillon_testkit::{TestDatabase, eventually};
use harness::{Harness, Purse, address, customer, message};
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
        vec![Box::new(CreateOutbox), Box::new(AddDocuments)]
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
        without_consent: false,
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

/// A customer's consent changed after what the batches say of it.
fn consent(n: u32, without_consent: bool) -> Suppression {
    Suppression {
        customer_id: customer(n).to_wire(),
        channel: Channel::Sms.into(),
        version: 2,
        suppressed: false,
        without_consent,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_counts_as_it_is_required_and_given_when_a_message_leaves() {
    let harness = Harness::new().await;
    harness.calls.paused.store(true, Ordering::Relaxed);
    harness.start().await;
    let teller = Teller::new(&harness, topology::SEGMENT_EVALUATOR).await;
    let recipient =
        |n| Recipient { address: address(n), without_consent: n < 3, ..Recipient::default() };
    let job = harness.job_of((0..6).map(recipient).collect());
    harness.publish(&job).await;
    let totals = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!(totals.waiting["paused"], 6);
    let suppressions = vec![consent(1, false), consent(4, true)];
    teller.tell(Body::SuppressionChanged(SuppressionChanged { suppressions })).await;
    let heard = "SELECT COUNT(*) FROM suppressions";
    eventually("they are heard", || async { harness.number(heard).await == 2 }).await;
    harness.calls.require_consent.store(true, Ordering::Relaxed);
    harness.calls.paused.store(false, Ordering::Relaxed);
    harness.clock.advance(SignedDuration::from_secs(10));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "suppressed")), (3, 3));
    for n in 0..6 {
        let expected = u32::from([1, 3, 5].contains(&n));
        assert_eq!(harness.calls.of(message(&job, n)), expected, "{n}");
    }
    let (_, changes) = harness.told().await;
    let without = changes.iter().filter(|(.., reason)| reason == "no_consent").count();
    assert_eq!(without, 3);

    harness.calls.require_consent.store(false, Ordering::Relaxed);
    let run = RunId::of(campaign(), "later");
    harness.publish(&harness.of_another_run(job, run)).await;
    let batch = BatchId::of(run, Channel::Sms, 0);
    eventually("the later one is closed", || async { harness.told_of(batch).await.0.closed }).await;
    assert_eq!(settled(&harness.told_of(batch).await.0, "sent"), 6);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_taken_back_stops_what_is_in_hand() {
    let mut harness = Harness::new().await;
    harness.calls.heeds = true;
    harness.calls.require_consent.store(true, Ordering::Relaxed);
    harness.start().await;
    let teller = Teller::new(&harness, topology::SEGMENT_EVALUATOR).await;
    harness.publish(&harness.job(1)).await;
    eventually("it is in hand", || async { harness.calls.total() > 0 }).await;
    let suppressions = vec![consent(0, true)];
    teller.tell(Body::SuppressionChanged(SuppressionChanged { suppressions })).await;
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "suppressed"), totals.posted_units), (1, 0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_outside_the_markets_fails_without_a_call_and_gives_its_units_back() {
    let mut harness = Harness::new().await;
    let purse = Purse::default();
    *purse.granted.lock().unwrap() = Some(6);
    harness.purse = Some(purse.clone());
    harness.calls.paused.store(true, Ordering::Relaxed);
    harness.start().await;
    let recipient = |n| {
        let country = if n < 2 { "+491512345" } else { "+3161234" };
        Recipient { address: format!("{country}{n:04}"), ..Recipient::default() }
    };
    let job = harness.job_of((0..6).map(recipient).collect());
    harness.publish(&job).await;
    let totals = harness.until("accepted", |totals| totals.accepted).await;
    assert_eq!((totals.waiting["paused"], totals.needed_units), (6, 6));
    *harness.calls.markets.lock().unwrap() = Markets::of(&["NL".into()]);
    harness.calls.paused.store(false, Ordering::Relaxed);
    harness.clock.advance(SignedDuration::from_secs(10));
    let totals = harness.until("closed", |totals| totals.closed).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "failed")), (4, 2));
    assert_eq!((totals.posted_units, totals.needed_units), (4, 4));
    let (_, changes) = harness.told().await;
    let foreign = changes.iter().filter(|(.., reason)| reason == "market_not_allowed");
    assert_eq!(foreign.map(|(position, ..)| *position).collect::<Vec<_>>(), [0, 1]);

    // What is never sent waits for no credits.
    *purse.granted.lock().unwrap() = Some(4);
    let run = RunId::of(campaign(), "later");
    harness.publish(&harness.of_another_run(job, run)).await;
    let batch = BatchId::of(run, Channel::Sms, 0);
    eventually("the later one is closed", || async { harness.told_of(batch).await.0.closed }).await;
    let (totals, _) = harness.told_of(batch).await;
    assert_eq!((settled(&totals, "sent"), settled(&totals, "failed")), (4, 2));
    assert_eq!(harness.calls.total(), 8);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_only_raise_whatever_their_order_and_number() {
    let stop = Stop::new();
    metrics::start(&stop).unwrap();
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
    let lost = Evidence { provider_code: "30003".into(), ..evidence(1, Says::Undelivered) };
    inbox.keep(vec![lost]).await.unwrap();
    let explained = "SELECT COUNT(*) FROM messages WHERE provider_code = '30003'";
    eventually("it says why", || async { harness.number(explained).await == 1 }).await;
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
    assert_eq!(harness.number(explained).await, 0, "what was delivered after all");
    assert_eq!(totals.posted_units, 6);
    assert_eq!(harness.calls.total(), 6);
    let baseless = "carillon_evidence_baseless_total{channel=\"sms\"} 20";
    let shown = metrics::render().await.unwrap();
    assert!(
        shown.contains(baseless),
        "of nobody's message, and of another organisation's:\n{shown}"
    );
    stop.now();
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

/// At a clock that stands still the row says exactly how many tokens were leased.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_retries_use_the_tokens_that_are_leased_for_them() {
    const BATCHES: u32 = 40;
    let mut harness = Harness::new().await;
    harness.calls.throttle = Some(Throttle::Rate { per_second: 20 });
    let transient = Outcome::Transient { code: "busy".into(), retry_after: None };
    harness.calls.answers(&address(0), vec![transient; BATCHES as usize]);
    harness.start().await;
    for n in 0..BATCHES {
        let run = RunId::of(campaign(), &n.to_string());
        harness.publish(&harness.of_another_run(harness.job(1), run)).await;
    }
    let waiting = "SELECT COUNT(*) FROM messages WHERE state = 'queued' AND attempt = 1";
    eventually("all failed", || async { harness.number(waiting).await == i64::from(BATCHES) })
        .await;
    harness.calls.times.lock().unwrap().clear();
    harness.clock.advance(SignedDuration::from_secs(30));
    let begun_ms = harness.clock.now_ms();
    let sent = "SELECT COUNT(*) FROM messages WHERE state = 'sent'";
    eventually("all are sent", || async { harness.number(sent).await == i64::from(BATCHES) }).await;
    // A token is every 50 ms; the first one is 300 ms ahead.
    let next_at = harness.number("SELECT next_at FROM throttles").await;
    let leased = (next_at - begun_ms - 300) / 50;
    assert!(leased * 8 <= i64::from(BATCHES) * 10, "{leased} leased for {BATCHES}");
    let times = harness.calls.times.lock().unwrap().clone();
    for second in times.windows(21) {
        // The tokens of a second, each used somewhere in its quarter of one, or noted a little later.
        assert!(second[20] - second[0] >= Duration::from_millis(600));
    }
    harness.stop().await;
}
