use std::time::Duration;

use carillon_broker::{Consumer, topology};
use carillon_contracts::{
    audience::v1::Customer,
    events::v1::{DeliveryChanged, RunDue, Totals, event::Body},
    ids::{BatchId, CampaignId, RunId},
    jobs::v1::{Cause, Channel, Content, SendJob, SmsContent},
};
use carillon_service_kit::database::differs;
use carillon_testkit::{eventually, is_distributed};
use jiff::SignedDuration;
use prost::Message as _;
use uuid::Uuid;

use crate::{
    plans::{due, open, run, tell_due},
    world::{World, change, count, next, reachable},
};

const QUIET: Duration = Duration::from_millis(700);

/// A run of SMS only.
pub async fn sms_run(world: &mut World, customers: usize) {
    for from in (0..customers).step_by(1_000) {
        let rows: Vec<Customer> = (from..customers.min(from + 1_000)).map(reachable).collect();
        world.import(rows, &[]).await;
    }
    let text = "Hi {UserName}".into();
    let content =
        Content { sms: Some(SmsContent { text, downgrade: false }), ..Content::default() };
    tell_due(world, RunDue { content: Some(content), ..due("everyone") }).await;
    let open = "SELECT COUNT(*) FROM runs WHERE closed";
    eventually("the plan is closed", async || count(&world.database, open).await == 1).await;
}

pub async fn jobs(world: &World) -> Box<dyn Consumer> {
    world.consume(&topology::job_queue("sms", "bulk")).await
}

/// The next jobs, by their numbers, and no more than these.
pub async fn take(jobs: &mut dyn Consumer, expected: usize) -> Vec<SendJob> {
    let mut arrived = Vec::new();
    while arrived.len() < expected {
        let body = next(jobs).await.expect("another job");
        arrived.push(SendJob::decode(body).expect("a job"));
    }
    if let Ok(Some(more)) = tokio::time::timeout(QUIET, jobs.next()).await {
        let job = SendJob::decode(more.body.clone()).expect("a job");
        panic!("a job too many: {}", number(&job));
    }
    arrived.sort_by_key(number);
    arrived
}

pub async fn numbers(jobs: &mut dyn Consumer, expected: usize) -> Vec<u32> {
    take(jobs, expected).await.iter().map(number).collect()
}

pub fn totals(version: u64, unattempted: u32) -> Totals {
    Totals { version, unattempted, accepted: unattempted == 0, ..Totals::default() }
}

pub async fn tell(world: &mut World, job: &SendJob, totals: Totals) {
    let changed = DeliveryChanged {
        campaign_id: job.campaign_id.clone(),
        run_id: job.run_id.clone(),
        batch_id: job.batch_id.clone(),
        totals: Some(totals),
        ..DeliveryChanged::default()
    };
    let body = Body::DeliveryChanged(changed);
    world.tell(topology::SMS_DISPATCHER, topology::DELIVERY_CHANGED, body).await;
}

pub fn number(job: &SendJob) -> u32 {
    let is = |number: &u32| BatchId::of(run(), Channel::Sms, *number).to_wire() == job.batch_id;
    (0..1_000).find(is).expect("a batch of the run")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_batches_are_out_than_there_are_places() {
    let mut world = World::new().await;
    sms_run(&mut world, 3_000).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [0, 1]);
    tell(&mut world, &first[0], totals(1, 20)).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "it waits for throttle or money");
    tell(&mut world, &first[0], totals(2, 0)).await;
    let second = take(jobs.as_mut(), 2).await;
    assert_eq!(second.iter().map(number).collect::<Vec<_>>(), [2, 3], "one place more by the flow");
    tell(&mut world, &first[0], totals(1, 20)).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "older totals count for nothing");
    world.clock.advance(SignedDuration::from_secs(11));
    tell(&mut world, &second[0], totals(1, 0)).await;
    let third = take(jobs.as_mut(), 1).await;
    assert_eq!(third.iter().map(number).collect::<Vec<_>>(), [4], "the flow is 10 s old: R is 3");
}

/// Every message of the batch was tried, and waits for a reason.
fn waiting(version: u64, reason: &str) -> Totals {
    Totals { waiting: [(reason.to_owned(), 500)].into(), ..totals(version, 0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_empty_purse_no_more_batches_are_out_than_there_are_places() {
    let mut world = World::new().await;
    sms_run(&mut world, 3_000).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    tell(&mut world, &first[0], waiting(1, "insufficient_balance")).await;
    tell(&mut world, &first[1], waiting(1, "billing_unavailable")).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "who waits for money keeps the place");
    tell(&mut world, &first[1], waiting(2, "throttled")).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "and so does who waits for throttle");
    for job in &first {
        tell(&mut world, job, Totals { closed: true, ..totals(3, 0) }).await;
    }
    let rest = take(jobs.as_mut(), 4).await;
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [2, 3, 4, 5], "money has come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_given_up_and_taken_back_as_the_newest_totals_say() {
    let mut world = World::new().await;
    sms_run(&mut world, 3_000).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    tell(&mut world, &first[0], waiting(1, "retrying")).await;
    let second = take(jobs.as_mut(), 2).await;
    assert_eq!(second.iter().map(number).collect::<Vec<_>>(), [2, 3], "a retry holds no place");
    tell(&mut world, &first[0], waiting(3, "throttled")).await;
    tell(&mut world, &first[0], waiting(2, "retrying")).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "older totals count for nothing");
    world.clock.advance(SignedDuration::from_secs(11));
    for job in [&first[1], &second[0]] {
        tell(&mut world, job, totals(1, 0)).await;
    }
    let third = take(jobs.as_mut(), 2).await;
    assert_eq!(third.iter().map(number).collect::<Vec<_>>(), [4, 5], "2 of 4 places are taken");
    world.clock.advance(SignedDuration::from_hours(13));
    tell(&mut world, &first[0], Totals { closed: true, ..totals(4, 0) }).await;
    tell(&mut world, &first[0], waiting(5, "throttled")).await;
    let given_up = "SELECT COUNT(*) FROM batches WHERE version = 5 AND given_up_at IS NOT NULL";
    eventually("a closed batch holds no place", async || {
        count(&world.database, given_up).await == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_batch_holds_no_place_past_its_deadline() {
    let mut world = World::new().await;
    sms_run(&mut world, 1_500).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    for job in &first {
        tell(&mut world, job, waiting(1, "insufficient_balance")).await;
    }
    assert!(take(jobs.as_mut(), 0).await.is_empty());
    world.clock.advance(SignedDuration::from_hours(12));
    let expired = take(jobs.as_mut(), 1).await;
    assert_eq!(expired.iter().map(number).collect::<Vec<_>>(), [2]);
    assert_eq!(expired[0].cause(), Cause::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_database_ends_neither_the_plan_nor_the_release() {
    let mut world = World::new().await;
    for table in ["runs", "lanes", "batches"] {
        change(&world.database, &format!("ALTER TABLE {table} RENAME TO away")).await;
        // Longer than either loop idles, so that it fails at least once.
        tokio::time::sleep(Duration::from_millis(600)).await;
        change(&world.database, &format!("ALTER TABLE away RENAME TO {table}")).await;
    }
    sms_run(&mut world, 3).await;
    assert_eq!(numbers(jobs(&world).await.as_mut(), 1).await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_read_holds_up_no_other() {
    let mut world = World::new().await;
    sms_run(&mut world, 3).await;
    let mut queue = jobs(&world).await;
    take(queue.as_mut(), 1).await;
    change(
        &world.database,
        differs("UPDATE runs SET content = x'ff'", "UPDATE runs SET content = '\\xff'"),
    )
    .await;
    let unsent = "UPDATE batches SET sent = FALSE, taken_until = NULL";
    change(&world.database, unsent).await;
    let campaign = CampaignId::new(Uuid::from_u128(7));
    let second = RunDue {
        campaign_id: campaign.to_wire(),
        run_id: RunId::of(campaign, "now").to_wire(),
        ..due("everyone")
    };
    tell_due(&mut world, second).await;
    let job = SendJob::decode(next(queue.as_mut()).await.expect("a job")).expect("a job");
    assert_eq!(job.campaign_id, campaign.to_wire());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_releases_again_what_a_broker_in_memory_forgot() {
    let mut world = World::new().await;
    sms_run(&mut world, 1_500).await;
    let mut queue = jobs(&world).await;
    let first = take(queue.as_mut(), 2).await;
    tell(&mut world, &first[0], totals(1, 0)).await;
    assert_eq!(numbers(queue.as_mut(), 1).await, [2]);
    drop(queue);
    let world = world.restart().await;
    let mut queue = jobs(&world).await;
    if is_distributed() {
        assert!(take(queue.as_mut(), 0).await.is_empty(), "RabbitMQ kept what it was given");
        return;
    }
    let again = take(queue.as_mut(), 2).await;
    assert_eq!(again.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(open(&again[0]).recipients.len(), 500, "with its block");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_past_its_deadline_goes_with_the_cause_in_place_of_its_block() {
    let mut world = World::new().await;
    world.clock.advance(SignedDuration::from_hours(13));
    sms_run(&mut world, 3).await;
    let mut jobs = jobs(&world).await;
    let expired = take(jobs.as_mut(), 1).await;
    let [job] = &expired[..] else { panic!("one batch") };
    assert_eq!((job.cause(), job.block.is_none()), (Cause::Expired, true));
    assert_eq!(job.customer_ids.len(), 3 * 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_dropped_when_its_batch_is_closed() {
    let mut world = World::new().await;
    sms_run(&mut world, 3).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 1).await;
    let left = "SELECT COUNT(*) FROM batches WHERE block IS NOT NULL";
    assert_eq!(count(&world.database, left).await, 1);
    tell(&mut world, &first[0], Totals { closed: true, ..totals(3, 0) }).await;
    eventually("the block is gone", async || count(&world.database, left).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_batches_flow_through_the_places_there_are() {
    let mut world = World::new().await;
    world.import((0..3).map(reachable).collect(), &[]).await;
    let mut jobs = jobs(&world).await;
    for number in 0..40 {
        let campaign = CampaignId::new(Uuid::from_u128(number));
        let (campaign_id, run) = (campaign.to_wire(), RunId::of(campaign, "now"));
        let text = "Hi {UserName}".into();
        let content =
            Content { sms: Some(SmsContent { text, downgrade: false }), ..Content::default() };
        let due = RunDue {
            campaign_id,
            run_id: run.to_wire(),
            content: Some(content),
            ..due("everyone")
        };
        tell_due(&mut world, due).await;
    }
    let closed = "SELECT COUNT(*) FROM runs WHERE closed";
    eventually("every plan is closed", async || count(&world.database, closed).await == 40).await;
    for _ in 0..40 {
        let job = SendJob::decode(next(jobs.as_mut()).await.expect("a job")).expect("a job");
        tell(&mut world, &job, totals(1, 0)).await;
    }
}
