use carillon_broker::topology;
use carillon_contracts::{
    events::v1::{CampaignHalted, Event, Halt, RunDue, event::Body},
    ids::{CampaignId, RunId},
    jobs::v1::{Cause, Content, SendJob, SmsContent},
};
use carillon_testkit::eventually;
use jiff::SignedDuration;
use prost::Message as _;
use uuid::Uuid;

use crate::{
    plans::{CAMPAIGN, due, run_due, tell_due},
    releases::{jobs, number, numbers, sms_run, take, tell, totals},
    world::{World, count, next, reachable},
};

async fn halt(world: &mut World, halt: Halt, version: u64) {
    let campaign_id = CAMPAIGN.to_wire();
    let body = Body::CampaignHalted(CampaignHalted { campaign_id, halt: halt.into(), version });
    world.tell(topology::CAMPAIGN_API, topology::CAMPAIGN_HALTED, body).await;
    let kept = format!("SELECT COUNT(*) FROM halts WHERE version >= {version}");
    eventually("the halt is kept", async || count(&world.database, &kept).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_paused_campaign_wait_and_take_no_place_from_others() {
    let mut world = World::new().await;
    sms_run(&mut world, 3_000).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    halt(&mut world, Halt::Paused, 2).await;
    halt(&mut world, Halt::Running, 1).await;
    tell(&mut world, &first[0], totals(1, 0)).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "an older word does not resume it");
    let campaign = CampaignId::new(Uuid::from_u128(7));
    for occurrence in ["one", "two"] {
        let text = "Hi".into();
        let other = RunDue {
            campaign_id: campaign.to_wire(),
            run_id: RunId::of(campaign, occurrence).to_wire(),
            content: Some(Content {
                sms: Some(SmsContent { text, downgrade: false }),
                ..Content::default()
            }),
            ..due("C00001,C00002")
        };
        tell_due(&mut world, other).await;
        let job = SendJob::decode(next(jobs.as_mut()).await.expect("a job")).expect("a job");
        assert_eq!(job.campaign_id, campaign.to_wire(), "the other's batches go");
    }
    halt(&mut world, Halt::Running, 3).await;
    world.clock.advance(SignedDuration::from_secs(11));
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "its batch counts again: 3 are out");
    tell(&mut world, &first[1], totals(1, 0)).await;
    assert_eq!(numbers(jobs.as_mut(), 1).await, [2], "R is 3 now, and two are the other's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_does_not_stop_the_deadline() {
    let mut world = World::new().await;
    sms_run(&mut world, 1_500).await;
    let mut jobs = jobs(&world).await;
    take(jobs.as_mut(), 2).await;
    halt(&mut world, Halt::Paused, 1).await;
    world.clock.advance(SignedDuration::from_hours(13));
    let expired = take(jobs.as_mut(), 1).await;
    assert_eq!((number(&expired[0]), expired[0].cause()), (2, Cause::Expired));
    assert!(expired[0].block.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_cancelled_campaign_is_released_to_be_settled() {
    let mut world = World::new().await;
    sms_run(&mut world, 2_000).await;
    let mut jobs = jobs(&world).await;
    let first = take(jobs.as_mut(), 2).await;
    assert!(first.iter().all(|job| job.block.is_some()));
    halt(&mut world, Halt::Cancelled, 1).await;
    assert!(take(jobs.as_mut(), 0).await.is_empty(), "there is no place");
    for job in &first {
        tell(&mut world, job, totals(1, 0)).await;
    }
    let rest = take(jobs.as_mut(), 2).await;
    for job in &rest {
        assert_eq!((job.cause(), job.block.is_none()), (Cause::Cancelled, true));
        assert_eq!(job.customer_ids.len(), 500 * 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_cancelled_before_its_plan_plans_nobody() {
    let mut world = World::new().await;
    world.import((0..3).map(reachable).collect(), &[]).await;
    halt(&mut world, Halt::Cancelled, 1).await;
    run_due(&mut world, "everyone").await;
    let mut planned = world.events(topology::RUN_PLANNED).await;
    let event = Event::decode(next(planned.as_mut()).await.expect("closed")).expect("an event");
    let Some(Body::RunPlanned(closed)) = event.body else { panic!("another event") };
    assert_eq!((closed.matched, closed.planned, closed.skipped.len()), (0, 0, 0));
    assert_eq!(count(&world.database, "SELECT COUNT(*) FROM batches").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_a_paused_campaign_goes_on() {
    let mut world = World::new().await;
    halt(&mut world, Halt::Paused, 1).await;
    sms_run(&mut world, 600).await;
    assert_eq!(count(&world.database, "SELECT COUNT(*) FROM batches").await, 2);
    assert!(take(jobs(&world).await.as_mut(), 0).await.is_empty());
}
