//! Jobs that the broker loses. The patience is short; what is waited for is not.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use carillon_broker::{
    Broker, Consumer, Depth, Destination, Publication, PublishError, Unavailable, topology,
};
use carillon_contracts::{
    campaign::v1::Organisation,
    jobs::v1::{Cause, SendJob},
    ops::v1::{
        DiscardParkedRequest, GetParkedRequest, GetStatusRequest, ListParkedRequest, Parked,
        ReplayParkedRequest,
    },
};
use carillon_service_kit::Clock;
use carillon_testkit::eventually;
use jiff::SignedDuration;
use prost::Message as _;

use crate::{
    releases::{jobs, number, sms_run, tell, totals},
    world::{NOW, World, change, count, next},
};

const PATIENCE: Duration = Duration::from_millis(300);

/// Confirms jobs and loses them: each the first time, or every one.
struct Lossy {
    broker: Arc<dyn Broker>,
    lost: Arc<Mutex<HashSet<Bytes>>>,
    every: Arc<AtomicBool>,
}

#[async_trait]
impl Broker for Lossy {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let is_job =
            matches!(&publication.to, Destination::Queue(name) if name.starts_with("jobs."));
        if is_job {
            let job = SendJob::decode(publication.body.clone()).expect("a job");
            let first = self.lost.lock().expect("whole").insert(job.batch_id);
            if first || self.every.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        self.broker.publish(publication).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable> {
        self.broker.consume(queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable> {
        self.broker.depth(queue).await
    }
}

async fn lossy(clock: Clock, every: &Arc<AtomicBool>) -> World {
    let every = Arc::clone(every);
    let through = move |broker| -> Arc<dyn Broker> {
        Arc::new(Lossy { broker, lost: Arc::default(), every })
    };
    World::with_patience(Organisation::default(), clock, PATIENCE, through).await
}

/// The runs of these tests must not be over by the system's clock.
async fn never_ends(world: &World) {
    change(&world.database, "UPDATE batches SET deadline = 4000000000000").await;
}

async fn next_job(jobs: &mut dyn Consumer) -> SendJob {
    SendJob::decode(next(jobs).await.expect("a job")).expect("a job")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_that_a_broker_loses_once_comes_back() {
    let mut world = lossy(Clock::manual(NOW.parse().expect("valid")), &Arc::default()).await;
    let mut jobs = jobs(&world).await;
    sms_run(&mut world, 2_000).await;
    let mut seen = HashSet::new();
    let ticking = tick(world.clock.clone());
    while seen.len() < 4 {
        let job = next_job(jobs.as_mut()).await;
        assert!(job.block.is_some());
        seen.insert(number(&job));
        tell(&mut world, &job, totals(1, 0)).await;
    }
    ticking.abort();
    assert_eq!(seen, HashSet::from([0, 1, 2, 3]));
}

/// Moves a clock on while a test waits.
fn tick(clock: Clock) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            clock.advance(SignedDuration::from_millis(20));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_purged_at_run_time_is_filled_again() {
    let clock = Clock::manual(NOW.parse().expect("valid"));
    let through = |broker| broker;
    let mut world = World::with_patience(Organisation::default(), clock, PATIENCE, through).await;
    sms_run(&mut world, 1_000).await;
    let queue = topology::job_queue("sms", "bulk");
    let sent = "SELECT COUNT(*) FROM batches WHERE sent";
    eventually("both are out", async || count(&world.database, sent).await == 2).await;
    world.place().broker.purge(&queue).await;
    let ticking = tick(world.clock.clone());
    let mut jobs = jobs(&world).await;
    let mut seen = HashSet::new();
    while seen.len() < 2 {
        seen.insert(number(&next_job(jobs.as_mut()).await));
    }
    ticking.abort();
    assert_eq!(seen, HashSet::from([0, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_that_are_down_overtake_nobody() {
    let clock = Clock::manual(NOW.parse().expect("valid"));
    let through = |broker| broker;
    let mut world = World::with_patience(Organisation::default(), clock, PATIENCE, through).await;
    sms_run(&mut world, 1_500).await;
    let sent = "SELECT COUNT(*) FROM batches WHERE sent";
    eventually("two are out", async || count(&world.database, sent).await == 2).await;
    world.clock.advance(SignedDuration::from_secs(100));
    tokio::time::sleep(PATIENCE * 5).await;
    assert_eq!(count(&world.database, "SELECT SUM(overtaken) FROM batches").await, 0);
    let depth = world.broker.depth(&topology::job_queue("sms", "bulk")).await.expect("a depth");
    assert_eq!((depth.ready, depth.consumers), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_later_one_has_passed_goes_again() {
    let mut world = lossy(Clock::manual(NOW.parse().expect("valid")), &Arc::default()).await;
    sms_run(&mut world, 1_500).await;
    let released = "SELECT COUNT(*) FROM batches WHERE sent";
    eventually("two are out", async || count(&world.database, released).await == 2).await;
    world.clock.advance(SignedDuration::from_secs(1));
    // Nobody consumes here: what is told stands for dispatchers that got other jobs.
    let told = |number| job(&world, number);
    let (second, third) = (told(1), told(2));
    tell(&mut world, &second, totals(1, 0)).await;
    eventually("the third is out", async || count(&world.database, released).await == 3).await;
    assert_eq!(count(&world.database, "SELECT SUM(overtaken) FROM batches").await, 0);
    tell(&mut world, &third, totals(1, 20)).await;
    let mut jobs = jobs(&world).await;
    assert_eq!(number(&next_job(jobs.as_mut()).await), 0, "the first went again");
    let overtaken = "SELECT COUNT(*) FROM batches WHERE overtaken > 0";
    assert_eq!(count(&world.database, overtaken).await, 1, "and only the first");
}

/// What a dispatcher tells of a batch begins with.
fn job(world: &World, number: u32) -> SendJob {
    use carillon_contracts::{ids::BatchId, jobs::v1::Channel};
    SendJob {
        organisation_id: world.organisation.to_wire(),
        run_id: crate::plans::run().to_wire(),
        campaign_id: crate::plans::CAMPAIGN.to_wire(),
        batch_id: BatchId::of(crate::plans::run(), Channel::Sms, number).to_wire(),
        ..SendJob::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_again_and_again_is_parked_until_something_is_heard_of_it() {
    let every = Arc::new(AtomicBool::new(true));
    let mut world = lossy(Clock::manual(NOW.parse().expect("valid")), &every).await;
    let mut jobs = jobs(&world).await;
    sms_run(&mut world, 3).await;
    never_ends(&world).await;
    let ticking = tick(world.clock.clone());
    let parked = "SELECT COUNT(*) FROM batches WHERE parked_at IS NOT NULL";
    eventually("it is parked", async || count(&world.database, parked).await == 1).await;
    assert_eq!(count(&world.database, "SELECT MAX(overtaken) FROM batches").await, 5);
    let status = world.operator.get_status(GetStatusRequest {}).await.expect("a status");
    let status = status.into_inner();
    let backlogs = &status.services[0].backlogs;
    let parked_stage = backlogs.iter().find(|one| one.stage == "batches_parked");
    assert_eq!(parked_stage.expect("a stage").count, 1);

    let lost = job(&world, 0);
    tell(&mut world, &lost, totals(1, 3)).await;
    eventually("it is parked no longer", async || count(&world.database, parked).await == 0).await;
    eventually("it is parked again", async || count(&world.database, parked).await == 1).await;
    every.store(false, Ordering::Release);
    change(&world.database, "UPDATE batches SET deadline = 1").await;
    let job = next_job(jobs.as_mut()).await;
    ticking.abort();
    assert_eq!((number(&job), job.cause(), job.block), (0, Cause::Expired, None));
}

const PARKED: &str = "SELECT COUNT(*) FROM batches WHERE parked_at IS NOT NULL";

/// A run of one batch that the broker lost until it was parked, and does not lose any more.
async fn parked() -> (World, Box<dyn Consumer>, tokio::task::JoinHandle<()>) {
    let every = Arc::new(AtomicBool::new(true));
    let mut world = lossy(Clock::manual(NOW.parse().expect("valid")), &every).await;
    let jobs = jobs(&world).await;
    sms_run(&mut world, 3).await;
    never_ends(&world).await;
    let ticking = tick(world.clock.clone());
    eventually("it is parked", async || count(&world.database, PARKED).await == 1).await;
    every.store(false, Ordering::Release);
    (world, jobs, ticking)
}

async fn listed(world: &mut World) -> Vec<Parked> {
    let listed = world.operator.list_parked(ListParkedRequest::default()).await.expect("listed");
    listed.into_inner().parked
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_a_parked_batch_and_has_it_released_again() {
    let (mut world, mut jobs, ticking) = parked().await;
    let listed = listed(&mut world).await;
    let [batch] = &listed[..] else { panic!("one: {listed:?}") };
    let id = carillon_contracts::ids::BatchId::from_wire(&job(&world, 0).batch_id).expect("an id");
    assert_eq!(batch.id, format!("segment-evaluator/{id}"));
    assert_eq!(
        (batch.service.as_str(), batch.source.as_str()),
        ("segment-evaluator", "jobs.sms.bulk")
    );
    assert!(batch.park_time.is_some());
    let request = GetParkedRequest { id: batch.id.clone() };
    let shown = world.operator.get_parked(request).await.expect("shown").into_inner();
    assert!(shown.text.contains("3 messages by sms to be sent"), "{}", shown.text);
    let status = world.operator.get_status(GetStatusRequest {}).await.expect("a status");
    assert_eq!(status.into_inner().services[0].parked, 1);

    let request = ReplayParkedRequest { id: batch.id.clone() };
    world.operator.replay_parked(request.clone()).await.expect("released");
    let again = next_job(jobs.as_mut()).await;
    ticking.abort();
    assert_eq!((number(&again), again.cause()), (0, Cause::Unspecified));
    assert!(again.block.is_some());
    let gone = world.operator.replay_parked(request).await.expect_err("it is parked no longer");
    assert_eq!(gone.code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_batch_that_is_discarded_is_settled_by_a_dispatcher() {
    let (mut world, mut jobs, ticking) = parked().await;
    let id = listed(&mut world).await.remove(0).id;
    let request = DiscardParkedRequest { id };
    world.operator.discard_parked(request.clone()).await.expect("given up");
    assert!(listed(&mut world).await.is_empty());
    let settled = next_job(jobs.as_mut()).await;
    ticking.abort();
    assert_eq!((number(&settled), settled.cause(), settled.block), (0, Cause::Cancelled, None));
    let gone = world.operator.discard_parked(request).await.expect_err("it is parked no longer");
    assert_eq!(gone.code(), tonic::Code::NotFound);
    let request = DiscardParkedRequest { id: "segment-evaluator/7".into() };
    let none = world.operator.discard_parked(request).await.expect_err("no such event");
    assert_eq!(none.code(), tonic::Code::NotFound);
}
