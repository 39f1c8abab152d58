use carillon_broker::{Consumer, topology};
use carillon_contracts::{
    audience::v1::{
        Activity, ConfirmSubscriptionRequest, Customer, OptOutRequest, SetBlacklistedRequest,
        SetSubscriptionRequest, UpdateCustomerRequest, identifier::By,
        set_subscription_request::Customers,
    },
    campaign::v1::Organisation,
    events::v1::{AuditRecorded, Event, event::Body},
    ids::CustomerId,
    jobs::v1::Channel::{self, Sms},
};
use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{KEY, World, customer, identified, next, reachable, signed};

/// The next entry. One that is read before the next is written comes in its order.
async fn told(audit: &mut Box<dyn Consumer>) -> AuditRecorded {
    let body = next(audit.as_mut()).await.expect("an event");
    match Event::decode(body).expect("an event").body {
        Some(Body::AuditRecorded(recorded)) => recorded,
        other => panic!("another event: {other:?}"),
    }
}

fn words(recorded: &AuditRecorded) -> (&str, &str, Value) {
    let after = serde_json::from_str(&recorded.after).unwrap_or_default();
    (&recorded.act, &recorded.subject, after)
}

async fn update(world: &mut World, given: Customer) {
    let request = UpdateCustomerRequest {
        customer: Some(given),
        allow_missing: true,
        ..UpdateCustomerRequest::default()
    };
    world.customers.update_customer(signed(request, KEY)).await.expect("updated");
}

async fn subscribe(world: &mut World, customers: Customers, channels: &[Channel], wanted: bool) {
    let request = SetSubscriptionRequest {
        customers: Some(customers),
        channels: channels.iter().map(|channel| (*channel).into()).collect(),
        subscribed: wanted,
    };
    world.customers.set_subscription(signed(request, KEY)).await.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_one_entry_and_says_nothing_of_who_the_customers_are() {
    let mut world = World::new().await;
    let mut audit = world.events(topology::AUDIT_RECORDED).await;
    world.import((0..50).map(reachable).collect(), &[]).await;
    let first = told(&mut audit).await;
    world.import((0..50).map(reachable).collect(), &[]).await;
    let renamed = Customer { first_name: "Zoë".into(), favourite: true, ..reachable(7) };
    world.import(vec![renamed, reachable(60)], &[]).await;
    let created = json!({ "created": 50, "updated": 0, "fields": [] });
    assert_eq!(words(&first), ("customers.imported", "customers", created));
    assert_eq!(first.key_id, Uuid::from_u128(9).as_bytes().as_slice());
    assert_eq!(first.key_prefix, "crl_12345678");
    // The second import changed nothing.
    let second = told(&mut audit).await;
    let updated = json!({ "created": 1, "updated": 1, "fields": ["favourite", "first_name"] });
    assert_eq!(words(&second), ("customers.imported", "customers", updated));
    let activity = Activity {
        event_id: "e1".into(),
        external_id: "C00001".into(),
        kind: "visit".into(),
        at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        ..Activity::default()
    };
    world.import_activities(vec![activity.clone()]).await;
    world.import_activities(vec![activity]).await;
    let third = told(&mut audit).await;
    let stored = json!({ "stored": 1 });
    assert_eq!(words(&third), ("activities.imported", "activities", stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_one_customer_names_the_customer_and_the_fields() {
    let mut world = World::new().await;
    let mut audit = world.events(topology::AUDIT_RECORDED).await;
    update(&mut world, reachable(1)).await;
    let created = told(&mut audit).await;
    update(&mut world, reachable(1)).await;
    update(&mut world, Customer { phone: "+442079460000".into(), ..reachable(1) }).await;
    let external = json!({ "external_id": "C00001" });
    assert_eq!(words(&created), ("customer.created", "customers/C00001", external));
    let updated = told(&mut audit).await;
    let fields = json!({ "fields": ["phone"] });
    assert_eq!(words(&updated), ("customer.updated", "customers/C00001", fields));
    let one = json!({ "customers": 1 });
    for (blacklisted, act) in [
        (true, Some("customer.blacklisted")),
        (true, None),
        (false, Some("customer.unblacklisted")),
    ] {
        let identifier = identified(By::ExternalId("C00001".into()));
        let request = SetBlacklistedRequest { identifier, blacklisted };
        world.customers.set_blacklisted(signed(request, KEY)).await.expect("set");
        if let Some(act) = act {
            let recorded = told(&mut audit).await;
            assert_eq!(words(&recorded), (act, "customers/C00001", one.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_by_staff_are_told_and_a_customers_own_word_is_not() {
    let mut world = World::with(Organisation { double_opt_in: true, ..Default::default() }).await;
    world.import(vec![reachable(1), reachable(2), customer("C3")], &[]).await;
    let mut audit = world.events(topology::AUDIT_RECORDED).await;
    assert_eq!(told(&mut audit).await.act, "customers.imported");
    let opted_out = OptOutRequest {
        organisation_id: world.organisation.uuid().as_bytes().to_vec(),
        customer_id: CustomerId::of(world.organisation, "C00002").uuid().as_bytes().to_vec(),
        channel: Sms.into(),
    };
    world.audience.opt_out(opted_out).await.expect("out");
    let one = Customers::Identifier(identified(By::ExternalId("C00001".into())).expect("one"));
    let sms = json!({ "customers": 1, "channels": ["sms"] });
    for (wanted, act) in
        [(false, Some("customer.unsubscribed")), (false, None), (true, Some("customer.subscribed"))]
    {
        subscribe(&mut world, one.clone(), &[Sms], wanted).await;
        if let Some(act) = act {
            let recorded = told(&mut audit).await;
            assert_eq!(words(&recorded), (act, "customers/C00001", sms.clone()));
        }
    }
    let identifier = identified(By::ExternalId("C00001".into()));
    let request = ConfirmSubscriptionRequest { identifier, channel: Sms.into() };
    world.customers.confirm_subscription(signed(request, KEY)).await.expect("confirmed");
    let recorded = told(&mut audit).await;
    assert_eq!(words(&recorded), ("customer.confirmed", "customers/C00001", sms));
    subscribe(&mut world, Customers::Filter("everyone".into()), &[], false).await;
    let recorded = told(&mut audit).await;
    let all = json!({ "customers": 2, "channels": ["sms", "email"] });
    assert_eq!(words(&recorded), ("customer.unsubscribed", "customers", all));
}
