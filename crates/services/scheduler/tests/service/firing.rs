use carillon_contracts::{
    events::v1::RunMissed,
    ids::{CampaignId, OrganisationId, RunId},
    schedule::v1::ListRunsRequest,
    time,
};
use carillon_testkit::eventually;
use jiff::SignedDuration;

use crate::world::{World, started, with_key};

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn a_started_campaign_becomes_a_run_that_carries_all_that_later_stages_need() {
    let world = World::new().await;
    let (campaign, now) = (CampaignId::random(), world.clock.now());
    let published = started(campaign, 3, now);
    world.publish(published.clone()).await;
    let due = world.hears(1).await.remove(0);
    let document = published.campaign.expect("a document");
    assert_eq!(due.campaign_id, campaign.to_wire());
    assert_eq!(due.run_id, RunId::of(campaign, "now").to_wire());
    assert_eq!(due.occurrence_key, "now");
    // 23:30 in London is half past midnight in Amsterdam.
    assert_eq!(due.run_day, 20_261_201);
    assert_eq!(due.nominal_time, Some(time::to_wire(now)));
    assert_eq!(due.deadline, Some(time::to_wire(now + hours(12))));
    assert_eq!((due.audience, due.content), (document.audience, document.content));
    assert_eq!(due.at_most_once_in, document.at_most_once_in);
}

#[tokio::test]
async fn a_campaign_that_is_published_again_and_newer_fires_once() {
    let world = World::new().await;
    let (campaign, now) = (CampaignId::random(), world.clock.now());
    world.publish(started(campaign, 2, now)).await;
    world.hears(1).await;
    world.publish(started(campaign, 2, now)).await;
    world.publish(started(campaign, 3, now)).await;
    world.flush().await;
    assert_eq!(world.heard().len(), 2, "the campaign's run, and the last campaign's");
}

#[tokio::test]
async fn a_restart_fires_nothing_again() {
    let mut world = World::new().await;
    world.publish(started(CampaignId::random(), 1, world.clock.now())).await;
    world.hears(1).await;
    world.stop().await;
    world.start();
    world.flush().await;
    assert_eq!(world.heard().len(), 2);
}

#[tokio::test]
async fn what_was_not_yet_due_at_a_stop_fires_after_the_restart() {
    let mut world = World::new().await;
    let later = CampaignId::random();
    world.publish(started(later, 1, world.clock.now() + hours(1))).await;
    world.flush().await;
    assert_eq!(world.heard().len(), 1, "only the last campaign is due");
    world.stop().await;
    world.clock.advance(hours(1));
    world.start();
    assert_eq!(world.hears(2).await[1].campaign_id, later.to_wire());
}

#[tokio::test]
async fn an_occurrence_whose_deadline_has_passed_is_missed_and_never_sent() {
    let world = World::new().await;
    let campaign = CampaignId::random();
    world.publish(started(campaign, 1, world.clock.now() - hours(12))).await;
    world.flush().await;
    assert_eq!(world.heard().len(), 1, "only the last campaign is due");
    let request = ListRunsRequest { campaign_id: campaign.to_string(), ..Default::default() };
    let runs = world.client().list_runs(with_key(request, "test-key")).await.expect("listed");
    let runs = runs.into_inner().runs;
    assert_eq!(runs.len(), 1);
    assert!(runs[0].missed);
    assert_eq!(runs[0].id, RunId::of(campaign, "now").to_string());
}

#[tokio::test]
async fn a_missed_run_is_told_of_once() {
    let world = World::new().await;
    let (campaign, nominal) = (CampaignId::random(), world.clock.now() - hours(12));
    world.publish(started(campaign, 1, nominal)).await;
    eventually("the missed run was heard of", || async { !world.heard_missed().is_empty() }).await;
    world.publish(started(campaign, 2, nominal)).await;
    world.flush().await;
    let expected = RunMissed {
        campaign_id: campaign.to_wire(),
        run_id: RunId::of(campaign, "now").to_wire(),
        occurrence_key: "now".into(),
        nominal_time: Some(time::to_wire(nominal)),
    };
    assert_eq!(world.heard_missed(), [expected]);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    let (broken, sound) = (CampaignId::random(), CampaignId::random());
    world.publish(started(broken, 1, world.clock.now() + hours(1))).await;
    world.publish(started(sound, 1, world.clock.now() + hours(2))).await;
    world.flush().await;
    let sql = "UPDATE schedules SET published = $2 WHERE campaign_id = $1";
    let torn = vec![0xff_u8];
    assert_eq!(world.change(sql, [broken.uuid().into(), torn.into()]).await, 1);
    world.clock.advance(hours(2));
    let due = world.hears(2).await;
    assert_eq!(due[1].campaign_id, sound.to_wire());
    world.flush().await;
}

#[tokio::test]
async fn an_error_of_the_database_does_not_end_the_ticking() {
    let world = World::new().await;
    world.flush().await;
    world.change("ALTER TABLE schedules RENAME TO away", []).await;
    // Longer than a tick, so that at least one of them fails.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    world.change("ALTER TABLE away RENAME TO schedules", []).await;
    world.flush().await;
}

#[tokio::test]
async fn a_campaign_waits_until_its_organisation_was_heard_of() {
    let world = World::new().await;
    let (stranger, campaign) = (OrganisationId::random(), CampaignId::random());
    world.publish_for(stranger, started(campaign, 1, world.clock.now())).await;
    world.flush().await;
    assert_eq!(world.heard().len(), 1, "only the last campaign is due");
    world.introduce(stranger, "other-key").await;
    eventually("the stranger's campaign is due", || async {
        world.heard().iter().any(|due| due.campaign_id == campaign.to_wire())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_fire_each_occurrence_once() {
    let world = World::new().await;
    world.replicate().await;
    world.replicate().await;
    let mut expected = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let campaign = CampaignId::random();
        world.publish(started(campaign, 1, world.clock.now() + hours(1))).await;
        expected.insert(campaign.to_wire());
    }
    world.flush().await;
    world.clock.advance(hours(1));
    world.hears(51).await;
    world.flush().await;
    let heard = world.heard();
    assert_eq!(heard.len(), 52, "50, and two of the flushes");
    let fired: Vec<_> = heard.iter().map(|due| due.campaign_id.clone()).collect();
    assert!(expected.iter().all(|campaign| fired.contains(campaign)));
}
