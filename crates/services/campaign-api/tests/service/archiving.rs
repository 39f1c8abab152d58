use carillon_contracts::{
    campaign::v1::{
        ArchiveCampaignRequest, Campaign, CampaignState, CancelCampaignRequest,
        CopyCampaignRequest, GetCampaignRequest, ListCampaignsRequest, PauseCampaignRequest,
        Schedule, Validity, schedule::When,
    },
    events::v1::{RunPlanned, event::Body},
    ids::{CampaignId, RunId},
};
use carillon_testkit::eventually;
use prost_types::Duration;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{World, campaign};

async fn copy(world: &World, id: &str, request_id: &str) -> Result<Campaign, Status> {
    let request = CopyCampaignRequest { id: id.into(), request_id: request_id.into() };
    world.campaigns().copy_campaign(world.ours(request)).await.map(Response::into_inner)
}

async fn archive(world: &World, id: &str) -> Result<Campaign, Status> {
    let request = world.ours(ArchiveCampaignRequest { id: id.into() });
    world.campaigns().archive_campaign(request).await.map(Response::into_inner)
}

async fn get(world: &World, id: &str) -> Campaign {
    let request = world.ours(GetCampaignRequest { id: id.into() });
    world.campaigns().get_campaign(request).await.expect("stored").into_inner()
}

/// Page by page, so that what is left out never ends a page.
async fn list(world: &World, show_archived: bool) -> Vec<String> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCampaignsRequest { page_size: 1, page_token, show_archived };
        let page = world.campaigns().list_campaigns(world.ours(request)).await.expect("listed");
        let page = page.into_inner();
        names.extend(page.campaigns.into_iter().map(|campaign| campaign.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("a reason").reason
}

#[tokio::test]
async fn a_copy_is_a_draft_with_everything_but_the_switch() {
    let world = World::new().await;
    world.everyone_obeys();
    let given = Campaign {
        valid: Some(Validity { from: "2026-11-01".into(), until: "2026-12-31".into() }),
        schedule: Some(Schedule { when: Some(When::Once("2026-12-01T09:00".into())) }),
        pending_period: Some(Duration { seconds: 7_200, nanos: 0 }),
        at_most_once_in: Some(Duration { seconds: 86_400, nanos: 0 }),
        ..campaign("Monday")
    };
    let first = world.create(given.clone()).await;
    world.try_start(&first.id).await.expect("started");
    let cancel = world.ours(CancelCampaignRequest { id: first.id.clone() });
    world.campaigns().cancel_campaign(cancel).await.expect("cancelled");

    let made = copy(&world, &first.id, "").await.expect("copied");
    assert_ne!(made.id, first.id);
    assert_eq!((made.state(), made.version, made.run_id.as_str()), (CampaignState::Draft, 1, ""));
    let settings = |campaign: &Campaign| {
        let Campaign {
            valid, audience, schedule, pending_period, at_most_once_in, content, ..
        } = campaign.clone();
        (valid, audience, schedule, pending_period, at_most_once_in, content)
    };
    assert_eq!(settings(&made), settings(&given));
    assert_eq!((made.name.as_str(), made.active), ("Copy of Monday", false));
    assert_eq!(get(&world, &made.id).await, made);
    let status = world.try_start(&made.id).await.expect_err("switched off");
    assert_eq!(reason(&status), "CAMPAIGN_INACTIVE");
}

#[tokio::test]
async fn the_name_of_a_copy_is_no_longer_than_a_name_may_be() {
    let world = World::new().await;
    let first = world.create(campaign(&"é".repeat(100))).await;
    let made = copy(&world, &first.id, "").await.expect("copied");
    assert_eq!(made.name, format!("Copy of {}", "é".repeat(92)));
    let again = copy(&world, &made.id, "").await.expect("copied");
    assert_eq!(again.name, format!("Copy of Copy of {}", "é".repeat(84)));
}

#[tokio::test]
async fn the_same_request_makes_one_copy() {
    let world = World::new().await;
    let first = world.create(campaign("Monday")).await;
    let other = world.create(campaign("Tuesday")).await;
    let made = copy(&world, &first.id, "again").await.expect("copied");
    assert_eq!(copy(&world, &first.id, "again").await.expect("the same"), made);
    let reused = copy(&world, &other.id, "again").await.expect_err("reused");
    assert_eq!(
        (reused.code(), reason(&reused).as_str()),
        (Code::AlreadyExists, "REQUEST_ID_REUSED")
    );
    assert_eq!(list(&world, false).await.len(), 3);
    assert_ne!(copy(&world, &first.id, "").await.expect("another").id, made.id);
}

#[tokio::test]
async fn an_archived_campaign_is_not_listed_unless_asked_for_and_never_started() {
    let world = World::new().await;
    let draft = world.create(campaign("Monday")).await;
    world.create(campaign("Tuesday")).await;
    let archived = archive(&world, &draft.id).await.expect("archived");
    assert_eq!((archived.state(), archived.version), (CampaignState::Draft, 2));
    assert!(archived.archive_time.is_some());
    assert_eq!(get(&world, &draft.id).await, archived);
    assert_eq!(archive(&world, &draft.id).await.expect("the same"), archived);
    assert_eq!(list(&world, false).await, ["Tuesday"]);
    let mut all = list(&world, true).await;
    all.sort();
    assert_eq!(all, ["Monday", "Tuesday"]);
    let status = world.try_start(&draft.id).await.expect_err("archived");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let id = &draft.id;
    assert_eq!(
        status.message(),
        format!(
            "id: campaign {id} is archived and can't be started; copy it with `carillon campaign \
             copy {id}`, and start the copy"
        )
    );
    assert_eq!(reason(&status), "CAMPAIGN_ARCHIVED");
    let made = copy(&world, id, "").await.expect("copied");
    assert_eq!(made.archive_time, None);
}

#[tokio::test]
async fn only_drafts_and_ended_campaigns_are_archived() {
    let world = World::new().await;
    world.everyone_obeys();
    let refused = async |id: &str, word: &str| {
        let status = archive(&world, id).await.expect_err("refused");
        assert_eq!(reason(&status), "CAMPAIGN_NOT_ENDED");
        assert_eq!(
            status.message(),
            format!(
                "id: campaign {id} is {word}, and only drafts and ended campaigns can be archived; \
                 cancel it first, or wait until it is finished"
            )
        );
        assert_eq!(get(&world, id).await.archive_time, None);
    };
    let schedule = Some(Schedule { when: Some(When::Once("2026-12-24T18:00".into())) });
    let scheduled = world.create(Campaign { schedule, ..campaign("Eve") }).await;
    world.try_start(&scheduled.id).await.expect("started");
    refused(&scheduled.id, "scheduled").await;
    let running = world.started().await;
    refused(&running.id, "running").await;
    let pause = world.ours(PauseCampaignRequest { id: running.id.clone() });
    world.campaigns().pause_campaign(pause).await.expect("paused");
    refused(&running.id, "paused").await;

    let cancel = world.ours(CancelCampaignRequest { id: scheduled.id.clone() });
    world.campaigns().cancel_campaign(cancel).await.expect("cancelled");
    let archived = archive(&world, &scheduled.id).await.expect("archived");
    assert_eq!(archived.state(), CampaignState::Cancelled);
    let (id, run): (CampaignId, RunId) =
        (running.id.parse().expect("an id"), running.run_id.parse().expect("an id"));
    let nobody =
        RunPlanned { campaign_id: id.to_wire(), run_id: run.to_wire(), ..RunPlanned::default() };
    let planner = world.neighbour(carillon_broker::topology::SEGMENT_EVALUATOR);
    planner.tell(Body::RunPlanned(nobody)).await;
    eventually("it is finished", || async {
        get(&world, &running.id).await.state() == CampaignState::Finished
    })
    .await;
    let archived = archive(&world, &running.id).await.expect("archived");
    assert_eq!(archived.state(), CampaignState::Finished);
    assert_eq!(list(&world, false).await, [""; 0]);
}
