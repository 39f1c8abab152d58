//! Campaigns that are paused, resumed and cancelled before their time.

use carillon_contracts::{
    events::v1::Halt,
    ids::{CampaignId, RunId},
};
use carillon_testkit::eventually;
use jiff::SignedDuration;

use crate::world::{World, started};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A campaign that is due in an hour, with a pending period of 12 hours.
async fn scheduled(world: &World) -> CampaignId {
    let campaign = CampaignId::random();
    world.publish(started(campaign, 1, world.clock.now() + HOUR)).await;
    world.flush().await;
    campaign
}

async fn has_fired(world: &World, campaign: CampaignId) -> bool {
    world.flush().await;
    world.heard().iter().any(|due| due.campaign_id == campaign.to_wire())
}

#[tokio::test]
async fn a_paused_campaign_fires_when_it_is_resumed() {
    let world = World::new().await;
    let campaign = scheduled(&world).await;
    world.halt(campaign, Halt::Paused, 2).await;
    world.clock.advance(HOUR * 12);
    assert!(!has_fired(&world, campaign).await);
    world.halt(campaign, Halt::Running, 3).await;
    eventually("it fires", || async {
        world.heard().iter().any(|due| due.campaign_id == campaign.to_wire())
    })
    .await;
    assert_eq!(world.heard_missed(), []);
}

#[tokio::test]
async fn a_campaign_that_is_resumed_after_its_deadline_is_missed() {
    let world = World::new().await;
    let campaign = scheduled(&world).await;
    world.halt(campaign, Halt::Paused, 2).await;
    world.clock.advance(HOUR * 13);
    assert!(!has_fired(&world, campaign).await);
    world.halt(campaign, Halt::Running, 3).await;
    eventually("it is missed", || async { !world.heard_missed().is_empty() }).await;
    assert_eq!(world.heard_missed()[0].run_id, RunId::of(campaign, "now").to_wire());
    assert!(!has_fired(&world, campaign).await);
}

#[tokio::test]
async fn a_cancelled_campaign_never_fires() {
    let world = World::new().await;
    let campaign = scheduled(&world).await;
    world.halt(campaign, Halt::Cancelled, 2).await;
    world.clock.advance(HOUR * 2);
    assert!(!has_fired(&world, campaign).await);
    assert_eq!(world.heard_missed(), []);
}

#[tokio::test]
async fn a_halt_that_comes_before_its_campaign_holds() {
    let world = World::new().await;
    let campaign = CampaignId::random();
    world.halt(campaign, Halt::Cancelled, 2).await;
    world.publish(started(campaign, 1, world.clock.now())).await;
    assert!(!has_fired(&world, campaign).await);
}

#[tokio::test]
async fn of_halts_the_newest_version_counts() {
    let world = World::new().await;
    let campaign = scheduled(&world).await;
    world.halt(campaign, Halt::Paused, 4).await;
    world.halt(campaign, Halt::Running, 3).await;
    world.clock.advance(HOUR * 2);
    // A later halt of another campaign: the older order was heard before it.
    world.halt(CampaignId::random(), Halt::Paused, 1).await;
    assert!(!has_fired(&world, campaign).await);
}
