use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{
        Campaign, CampaignState, GetCampaignRequest, ListCampaignsRequest, TestCampaignRequest,
        audience::Selection,
    },
    events::v1::event::Body,
};
use tonic::{Code, Response, Status};

use crate::world::{World, campaign, next};

async fn test(
    world: &World,
    id: &str,
    customer: &str,
    request_id: &str,
) -> Result<Campaign, Status> {
    let request = TestCampaignRequest {
        id: id.into(),
        customer: customer.into(),
        request_id: request_id.into(),
    };
    world.campaigns().test_campaign(world.ours(request)).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_test_is_a_campaign_of_its_own_to_one_customer() {
    let world = World::new().await;
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let draft = world.create(Campaign { active: false, ..campaign("Monday") }).await;
    let sent = test(&world, &draft.id, "C1", "").await.expect("started");
    assert_eq!((sent.name.as_str(), &sent.test_of), ("Test of Monday", &draft.id));
    assert_eq!((sent.state(), &sent.content), (CampaignState::Running, &draft.content));
    let Some(Body::CampaignPublished(published)) = next(&mut queue).await.body else {
        panic!("another event")
    };
    assert_eq!(published.campaign.as_ref(), Some(&sent));
    let audience = sent.audience.clone().and_then(|audience| audience.selection);
    let Some(Selection::Customers(list)) = audience else { panic!("not to one: {audience:?}") };
    assert_eq!(list.external_ids, ["C1"]);
    let request = world.ours(GetCampaignRequest { id: draft.id.clone() });
    let still = world.campaigns().get_campaign(request).await.expect("there").into_inner();
    assert_eq!(still, draft, "the draft is untouched");
    let request = world.ours(ListCampaignsRequest::default());
    let listed = world.campaigns().list_campaigns(request).await.expect("listed").into_inner();
    assert_eq!(listed.campaigns, [draft], "tests are not listed");
}

#[tokio::test]
async fn the_same_request_sends_once() {
    let world = World::new().await;
    let draft = world.create(campaign("Monday")).await;
    let first = test(&world, &draft.id, "C1", "r1").await.expect("started");
    let again = test(&world, &draft.id, "C1", "r1").await.expect("known");
    assert_eq!(again, first);
    let status = test(&world, &draft.id, "C2", "r1").await.expect_err("another body");
    assert_eq!(status.code(), Code::AlreadyExists);
    let other = test(&world, &draft.id, "C1", "r2").await.expect("another test");
    assert_ne!(other.id, first.id);
}

#[tokio::test]
async fn wrong_tests_are_refused_and_nothing_is_stored() {
    let world = World::new().await;
    let name = "x".repeat(100);
    let draft = world.create(campaign(&name)).await;
    let status = test(&world, &draft.id, "", "").await.expect_err("nobody");
    assert_eq!(status.message(), "customer: is missing; give a customer's external id");
    let status = test(&world, &draft.id, "X1", "r").await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    let status = test(&world, &uuid::Uuid::nil().to_string(), "C1", "").await;
    assert_eq!(status.expect_err("no campaign").code(), Code::NotFound);
    let sent = test(&world, &draft.id, "C1", "r").await.expect("the id is still free");
    assert_eq!(sent.name.chars().count(), 100, "a long name is cut");
    let claimed = Campaign { test_of: draft.id.clone(), ..campaign("Not a test") };
    assert_eq!(world.create(claimed).await.test_of, "", "only the service says so");
}
