//! Campaigns that are due once, at a local time of their organisation.

use carillon_contracts::{
    ids::{CampaignId, OrganisationId, RunId},
    time,
};
use carillon_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use crate::world::{World, once, with_key};

fn at(text: &str) -> prost_types::Timestamp {
    time::to_wire(text.parse::<Timestamp>().expect("a timestamp"))
}

#[tokio::test]
async fn it_fires_at_its_local_time_and_not_before() {
    let world = World::new().await;
    let campaign = CampaignId::random();
    // It is half past midnight in Amsterdam.
    world.publish(once(campaign, world.clock.now(), "2026-12-01T09:00")).await;
    world.flush().await;
    world.clock.advance(SignedDuration::from_hours(8));
    world.flush().await;
    assert_eq!(world.heard().len(), 2, "only the two of the flushes");
    world.clock.advance(SignedDuration::from_mins(30));
    let due = world.hears(3).await.remove(2);
    assert_eq!(due.campaign_id, campaign.to_wire());
    assert_eq!(due.occurrence_key, "2026-12-01T09:00");
    assert_eq!(due.run_id, RunId::of(campaign, "2026-12-01T09:00").to_wire());
    assert_eq!(due.run_day, 20_261_201);
    assert_eq!(due.nominal_time, Some(at("2026-12-01T08:00:00Z")));
    assert_eq!(due.deadline, Some(at("2026-12-01T20:00:00Z")));
}

#[tokio::test]
async fn in_a_gap_of_the_clock_it_fires_at_the_gap_s_end() {
    let world = World::new().await;
    let campaign = CampaignId::random();
    world.publish(once(campaign, world.clock.now(), "2027-03-28T02:30")).await;
    world.flush().await;
    let gap: Timestamp = "2027-03-28T01:00:00Z".parse().expect("a timestamp");
    world.clock.advance(gap.duration_since(world.clock.now()));
    let due = world.hears(2).await.remove(1);
    assert_eq!(due.occurrence_key, "2027-03-28T02:30");
    assert_eq!(due.nominal_time, Some(time::to_wire(gap)));
}

#[tokio::test]
async fn another_zone_of_the_organisation_moves_what_has_not_fired() {
    let world = World::new().await;
    let campaign = CampaignId::random();
    world.publish(once(campaign, world.clock.now(), "2026-12-02T09:00")).await;
    world.flush().await;
    world.tell_organisation(world.organisation, "test-key", "Asia/Tokyo", 2).await;
    let client = || world.client();
    eventually("the zone is known", || async {
        let sql = "UPDATE tenants SET version = 2 WHERE version = 2";
        world.change(sql, []).await == 1
    })
    .await;
    // Nine o'clock in Tokyo, where it is still one at night in Amsterdam.
    let nine: Timestamp = "2026-12-02T00:00:00Z".parse().expect("a timestamp");
    world.clock.advance(nine.duration_since(world.clock.now()));
    let due = world.hears(2).await.remove(1);
    assert_eq!(due.nominal_time, Some(time::to_wire(nine)));
    let request = carillon_contracts::schedule::v1::ListRunsRequest {
        campaign_id: campaign.to_string(),
        ..Default::default()
    };
    let runs = client().list_runs(with_key(request, "test-key")).await.expect("listed");
    assert_eq!(runs.into_inner().runs[0].occurrence_key, "2026-12-02T09:00");
}

#[tokio::test]
async fn a_zone_that_is_heard_of_after_the_campaign_counts() {
    let world = World::new().await;
    let (stranger, campaign) = (OrganisationId::random(), CampaignId::random());
    let published = once(campaign, world.clock.now(), "2026-12-01T09:00");
    world.publish_for(stranger, published).await;
    world.flush().await;
    world.tell_organisation(stranger, "other-key", "Asia/Tokyo", 1).await;
    world.clock.advance(SignedDuration::from_mins(30));
    eventually("it fires at nine in Tokyo", || async {
        world.heard().iter().any(|due| due.nominal_time == Some(at("2026-12-01T00:00:00Z")))
    })
    .await;
}

#[tokio::test]
async fn a_campaign_that_could_not_fire_for_a_day_is_missed() {
    let mut world = World::new().await;
    let campaign = CampaignId::random();
    let mut published = once(campaign, world.clock.now(), "2026-12-01T09:00");
    let week = time::duration_to_wire(SignedDuration::from_hours(7 * 24));
    published.campaign.as_mut().expect("a document").pending_period = Some(week);
    world.publish(published).await;
    world.flush().await;
    world.stop().await;
    world.clock.advance(SignedDuration::from_hours(33));
    world.start();
    eventually("it is missed", || async { !world.heard_missed().is_empty() }).await;
    let missed = world.heard_missed().remove(0);
    assert_eq!(missed.occurrence_key, "2026-12-01T09:00");
    assert_eq!(missed.nominal_time, Some(at("2026-12-01T08:00:00Z")));
}
