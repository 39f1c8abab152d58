use carillon_contracts::{
    ids::{CampaignId, OrganisationId},
    schedule::v1::{ListRunsRequest, ListRunsResponse},
};
use carillon_testkit::eventually;
use jiff::SignedDuration;
use tonic::{Code, Status};

use crate::world::{World, started, with_key};

async fn list(
    world: &World,
    key: &str,
    request: ListRunsRequest,
) -> Result<ListRunsResponse, Status> {
    world.client().list_runs(with_key(request, key)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let mut campaigns = Vec::new();
    for _ in 0..5 {
        let campaign = CampaignId::random();
        world.publish(started(campaign, 1, world.clock.now())).await;
        campaigns.insert(0, campaign.to_string());
        world.clock.advance(SignedDuration::from_mins(1));
    }
    world.hears(5).await;
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRunsRequest { page_size: 2, page_token, ..Default::default() };
        let page = list(&world, "test-key", request).await.expect("listed");
        assert!(page.runs.len() <= 2);
        listed.extend(page.runs.into_iter().map(|run| run.campaign_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, campaigns);
}

#[tokio::test]
async fn another_organisation_sees_no_run() {
    let world = World::new().await;
    world.introduce(OrganisationId::random(), "other-key").await;
    let campaign = CampaignId::random();
    world.publish(started(campaign, 1, world.clock.now())).await;
    world.hears(1).await;
    let request = ListRunsRequest { campaign_id: campaign.to_string(), ..Default::default() };
    eventually("the other organisation is known", || async {
        list(&world, "other-key", request.clone()).await.is_ok_and(|page| page.runs.is_empty())
    })
    .await;
    assert_eq!(list(&world, "test-key", request).await.expect("listed").runs.len(), 1);
}

#[tokio::test]
async fn wrong_requests_name_the_field_and_the_remedy() {
    let world = World::new().await;
    world.flush().await;
    let refused = |request| async { list(&world, "test-key", request).await.expect_err("wrong") };
    let status = refused(ListRunsRequest { campaign_id: "7".into(), ..Default::default() }).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "campaign_id: '7' is not an id: a UUID such as 0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11 is expected"
    );
    let status = refused(ListRunsRequest { page_token: "x".into(), ..Default::default() }).await;
    assert_eq!(status.message(), "page_token: is not one that this method gave; start without it");
    let status = refused(ListRunsRequest { page_size: -1, ..Default::default() }).await;
    assert_eq!(status.message(), "page_size: -1 is negative; give 1 to 1000, or none");
    let status = list(&world, "no-key", ListRunsRequest::default()).await.expect_err("unknown");
    assert_eq!(status.code(), Code::Unauthenticated);
}
