use carillon_broker::topology;
use carillon_contracts::{
    audience::v1::{
        Consent, Customer, OptOutRequest, SetBlacklistedRequest, SetSubscriptionRequest,
        UpdateCustomerRequest, identifier::By, set_subscription_request::Customers,
    },
    campaign::v1::Organisation,
    ids::CustomerId,
    jobs::v1::Channel::{self, Email, Sms},
};
use carillon_segment_evaluator::{ConsentLog, verify_consent_log};
use carillon_testkit::eventually;
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    dispatchers::Dispatchers,
    world::{KEY, World, count, customer, identified, reachable, signed},
};

async fn subscribe(world: &mut World, channels: &[Channel], subscribed: bool) {
    let request = SetSubscriptionRequest {
        customers: Some(Customers::Filter("everyone".into())),
        channels: channels.iter().map(|channel| (*channel).into()).collect(),
        subscribed,
    };
    world.customers.set_subscription(signed(request, KEY)).await.expect("set");
}

async fn blacklist(world: &mut World, blacklisted: bool) {
    let identifier = identified(By::ExternalId("C00001".into()));
    let request = SetBlacklistedRequest { identifier, blacklisted };
    world.customers.set_blacklisted(signed(request, KEY)).await.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_hear_of_every_way_to_be_left_alone() {
    let mut world = World::new().await;
    let dispatchers = Dispatchers::start(&world).await;
    world.import(vec![reachable(1)], &[]).await;
    dispatchers.told(&[]).await;
    subscribe(&mut world, &[Sms], false).await;
    dispatchers.told(&[(Sms, 2, true)]).await;
    subscribe(&mut world, &[], true).await;
    blacklist(&mut world, true).await;
    blacklist(&mut world, false).await;
    dispatchers
        .told(&[
            (Sms, 2, true),
            (Sms, 3, false),
            (Sms, 4, true),
            (Email, 4, true),
            (Sms, 5, false),
            (Email, 5, false),
        ])
        .await;
    dispatchers.forget();
    let imported = Customer { subscribe_email: Some(false), ..customer("C00001") };
    world.import(vec![imported], &["subscribe_email"]).await;
    dispatchers.told(&[(Email, 6, true)]).await;
    let withheld = UpdateCustomerRequest {
        customer: Some(Customer { consent: Consent::Withheld.into(), ..customer("C00001") }),
        update_mask: Some(FieldMask { paths: vec!["consent".into()] }),
        allow_missing: false,
    };
    world.customers.update_customer(signed(withheld, KEY)).await.expect("updated");
    dispatchers.told(&[(Email, 6, true), (Sms, 7, true), (Email, 7, true)]).await;
}

/// More customers than are told of in one event.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_knows_nobody_is_told_who_is_to_be_left_alone() {
    let mut world = World::new().await;
    let dispatchers = Dispatchers::start(&world).await;
    for from in [0, 700] {
        world.import((from..from + 700).map(reachable).collect(), &[]).await;
    }
    blacklist(&mut world, true).await;
    let imported = Customer { subscribe_email: Some(false), ..customer("C01390") };
    world.import(vec![imported], &["subscribe_email"]).await;
    let told = [(Sms, 2, true), (Email, 2, true), (Email, 2, true)];
    dispatchers.told(&told).await;
    let kept = "SELECT COUNT(*) FROM outbox WHERE stream LIKE '%suppression.changed'";
    eventually("passed by all", async || count(&world.database, kept).await == 0).await;
    dispatchers.forget();
    Dispatchers::knows_nothing(&world, topology::SMS_DISPATCHER).await;
    dispatchers.told(&told).await;
    let wanted = "SELECT COUNT(*) FROM subscribers WHERE documents_after IS NOT NULL";
    eventually("that is all", async || count(&world.database, wanted).await == 0).await;
    dispatchers.told(&told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_taken_back_counts_where_it_is_required() {
    let settings = Organisation { require_consent: true, ..Organisation::default() };
    let mut world = World::with(settings).await;
    let dispatchers = Dispatchers::start(&world).await;
    let given = Customer { consent: Consent::Given.into(), ..reachable(1) };
    world.import(vec![given], &[]).await;
    let open = Customer { consent: Consent::NotSpecified.into(), ..customer("C00001") };
    world.import(vec![open], &["consent"]).await;
    dispatchers.told(&[(Sms, 2, true), (Email, 2, true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_is_in_effect_once_dispatchers_have_heard_of_it() {
    let mut world = World::new().await;
    world.import(vec![reachable(1)], &[]).await;
    let request = |world: &World, id: &str| OptOutRequest {
        organisation_id: world.organisation.to_wire().to_vec(),
        customer_id: CustomerId::of(world.organisation, id).to_wire().to_vec(),
        channel: Email.into(),
    };
    let request_of_one = request(&world, "C00001");
    let answer = world.audience.opt_out(request_of_one.clone()).await.expect("stored");
    assert!(!answer.into_inner().in_effect, "no dispatcher has said anything");
    let stored = world.get("C00001").await;
    assert_eq!((stored.subscribe_sms, stored.subscribe_email), (Some(true), Some(false)));

    let dispatchers = Dispatchers::start(&world).await;
    let in_effect = async |world: &mut World| {
        let answer = world.audience.opt_out(request_of_one.clone()).await.expect("stored");
        answer.into_inner().in_effect
    };
    let mut tries = 0;
    while !in_effect(&mut world).await {
        tries += 1;
        assert!(tries < 30, "saying it again does not take effect");
    }
    let told = vec![(Email, 2, true); tries + 2];
    dispatchers.told(&told).await;
    let logged = "SELECT COUNT(*) FROM consent_log
                  WHERE changed_by = 'opt_out' AND to_consent = 'email_unsubscribed'";
    assert_eq!(count(&world.database, logged).await, 1, "it changed once");
    let checked = verify_consent_log(&world.database, world.organisation).await.expect("checked");
    assert_eq!(checked, ConsentLog::Whole(2));

    let unknown = request(&world, "C9");
    let refused = world.audience.opt_out(unknown).await.expect_err("nobody");
    assert_eq!(refused.code(), Code::NotFound);
    let nowhere = OptOutRequest { channel: 0, ..request(&world, "C00001") };
    let refused = world.audience.opt_out(nowhere).await.expect_err("no channel");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
