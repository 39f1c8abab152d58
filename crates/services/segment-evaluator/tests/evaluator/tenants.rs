use carillon_contracts::{
    audience::v1::{
        CountCustomersRequest, Customer, GetCustomerRequest, ImportCustomersRequest,
        PreviewContentRequest, ResolveCustomersRequest, identifier::By,
    },
    campaign::v1::Organisation,
    ids::{CustomerId, OrganisationId, pack_customers},
};
use futures::{StreamExt as _, channel::mpsc};
use tonic::Code;

use crate::world::{KEY, World, customer, identified, signed};

const OTHER: &str = "other-key";

#[tokio::test]
async fn an_organisation_sees_its_own_customers_only() {
    let mut world = World::new().await;
    let other = OrganisationId::random();
    world.settle_as(other, OTHER, Organisation::default()).await;
    let card = |id: &str| Customer { cards: vec!["LC-1".into()], ..customer(id) };
    world.import(vec![card("C1"), customer("C2")], &[]).await;
    let theirs = world.try_import(OTHER, vec![card("C9")], &[]).await.expect("imported");
    assert_eq!(theirs.stored, 1, "cards are unique within an organisation");

    let request = GetCustomerRequest { identifier: identified(By::ExternalId("C1".into())) };
    let refused = world.customers.get_customer(signed(request, OTHER)).await;
    assert_eq!(refused.expect_err("not theirs").code(), Code::NotFound);
    let by_card = GetCustomerRequest { identifier: identified(By::Card("LC-1".into())) };
    let found = world.customers.get_customer(signed(by_card, OTHER)).await.expect("found");
    assert_eq!(found.into_inner().external_id, "C9");
    for (key, expected) in [(KEY, 2), (OTHER, 1)] {
        let request = signed(CountCustomersRequest::default(), key);
        let count = world.customers.count_customers(request).await.expect("counted");
        assert_eq!(count.into_inner().count, expected);
    }
    let ids = ["C1", "C2"].map(|id| CustomerId::of(world.organisation, id));
    let request = |organisation: OrganisationId| ResolveCustomersRequest {
        organisation_id: organisation.to_string(),
        customer_ids: pack_customers(ids).to_vec(),
    };
    let ours = world.audience.resolve_customers(request(world.organisation)).await;
    assert_eq!(ours.expect("resolved").into_inner().customers.len(), 2);
    let theirs = world.audience.resolve_customers(request(other)).await;
    assert!(theirs.expect("resolved").into_inner().customers.is_empty());
    let preview = PreviewContentRequest {
        organisation_id: OrganisationId::random().to_string(),
        ..PreviewContentRequest::default()
    };
    let nowhere = world.audience.preview_content(preview).await.expect_err("unknown");
    assert_eq!(nowhere.code(), Code::NotFound);
}

#[tokio::test]
async fn a_key_that_is_revoked_stores_nothing_more_by_a_stream_that_is_open() {
    let mut world = World::new().await;
    let request =
        |id: &str| ImportCustomersRequest { customers: vec![customer(id)], update_mask: None };
    let (requests, given) = mpsc::unbounded();
    let stream = signed(given, KEY);
    let answers = world.customers.import_customers(stream).await.expect("open");
    let mut answers = answers.into_inner();
    requests.unbounded_send(request("C1")).expect("sent");
    let stored = answers.next().await.expect("an answer").expect("imported");
    assert_eq!(stored.stored, 1);

    world.settle_as(world.organisation, OTHER, Organisation::default()).await;
    requests.unbounded_send(request("C2")).expect("sent");
    let refused = answers.next().await.expect("an answer").expect_err("revoked");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let request = signed(CountCustomersRequest::default(), OTHER);
    let count = world.customers.count_customers(request).await.expect("counted");
    assert_eq!(count.into_inner().count, 1);
}

#[tokio::test]
async fn without_a_known_key_nothing_is_answered() {
    let mut world = World::new().await;
    let request = signed(CountCustomersRequest::default(), "nobody's");
    let refused = world.customers.count_customers(request).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = world.try_import("nobody's", vec![customer("C1")], &[]).await;
    assert_eq!(refused.expect_err("unknown").code(), Code::Unauthenticated);
}
