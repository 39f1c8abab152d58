use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState, GetCampaignRequest, Validity},
    events::v1::event::Body,
    ids::{CampaignId, RunId},
    time,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{World, campaign, next};

#[tokio::test]
async fn a_start_publishes_the_campaign_pinned_at_its_version() {
    let world = World::new().await;
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let created = world.create(campaign("Monday")).await;
    let started = world.try_start(&created.id).await.expect("started");
    let id: CampaignId = created.id.parse().expect("an id");
    assert_eq!((started.state(), started.version), (CampaignState::Running, 2));
    assert_eq!(started.run_id, RunId::of(id, "now").to_string());
    let event = next(&mut queue).await;
    assert_eq!(event.organisation_id, world.organisation.to_wire());
    let Some(Body::CampaignPublished(published)) = event.body else { panic!("another event") };
    assert_eq!(published.campaign_id, id.to_wire());
    assert_eq!(published.version, 2);
    assert_eq!(published.start_time, Some(time::to_wire(world.clock.now())));
    assert_eq!(published.campaign, Some(started));
}

#[tokio::test]
async fn starting_again_changes_nothing_and_answers_the_same() {
    let world = World::new().await;
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let started = world.started().await;
    for _ in 0..3 {
        assert_eq!(world.try_start(&started.id).await.expect("the same"), started);
    }
    let request = world.ours(GetCampaignRequest { id: started.id.clone() });
    let stored = world.campaigns().get_campaign(request).await.expect("stored").into_inner();
    assert_eq!(stored, started);
    let other = world.started().await;
    let told = [next(&mut queue).await, next(&mut queue).await].map(|event| match event.body {
        Some(Body::CampaignPublished(published)) => published.campaign.expect("a campaign").id,
        _ => panic!("another event"),
    });
    assert_eq!(told, [started.id, other.id], "each is published once");
}

#[tokio::test]
async fn of_many_starts_at_once_one_starts() {
    let world = World::new().await;
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let created = world.create(campaign("Monday")).await;
    let starts = (0..8).map(|_| world.try_start(&created.id));
    let answers = futures::future::join_all(starts).await;
    let first = answers[0].as_ref().expect("started").clone();
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|campaign| campaign == first)));
    let other = world.started().await;
    next(&mut queue).await;
    let Some(Body::CampaignPublished(second)) = next(&mut queue).await.body else {
        panic!("another event")
    };
    assert_eq!(second.campaign.expect("a campaign").id, other.id);
}

#[tokio::test]
async fn an_inactive_campaign_is_not_started() {
    let world = World::new().await;
    let created = world.create(Campaign { active: false, ..campaign("Monday") }).await;
    let status = world.try_start(&created.id).await.expect_err("inactive");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "CAMPAIGN_INACTIVE");
    assert_eq!(
        status.message(),
        format!(
            "active: campaign {} is not active and can't be started; set active: true",
            created.id
        )
    );
}

#[tokio::test]
async fn a_campaign_starts_only_within_its_days_where_the_organisation_is() {
    // In London it is 30 November, half past eleven at night; in Amsterdam it is December.
    let world = World::new().await;
    let valid = |from: &str, until: &str| Campaign {
        valid: Some(Validity { from: from.into(), until: until.into() }),
        ..campaign("Monday")
    };
    let ended = world.create(valid("2026-11-01", "2026-11-30")).await;
    let status = world.try_start(&ended.id).await.expect_err("ended");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        "valid.until: the campaign was valid until 2026-11-30, and in Europe/Amsterdam it is \
         2026-12-01; set a later valid.until"
    );
    let later = world.create(valid("2026-12-02", "")).await;
    let status = world.try_start(&later.id).await.expect_err("too early");
    assert_eq!(
        status.message(),
        "valid.from: the campaign is valid from 2026-12-02, and in Europe/Amsterdam it is \
         2026-12-01; start it then, or set an earlier valid.from"
    );
    let today = world.create(valid("2026-12-01", "2026-12-01")).await;
    world.try_start(&today.id).await.expect("started");
}

#[tokio::test]
async fn a_campaign_that_does_not_exist_is_not_started() {
    let world = World::new().await;
    let status = world.try_start("").await.expect_err("missing");
    assert_eq!(status.message(), "id: is missing; give a campaign's id");
    let status = world.try_start("monday").await.expect_err("no id");
    assert_eq!(
        status.message(),
        "id: 'monday' is not an id: a UUID such as 0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11 is expected"
    );
    let unknown = world.try_start("0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11").await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
}
