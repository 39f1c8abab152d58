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

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_hear_of_consent_alike_whether_it_is_required_or_not() {
    for require_consent in [false, true] {
        let settings = Organisation { require_consent, ..Organisation::default() };
        let mut world = World::with(settings).await;
        let dispatchers = Dispatchers::start(&world).await;
        let given = Customer { consent: Consent::Given.into(), ..reachable(1) };
        world.import(vec![given], &[]).await;
        let open = Customer { consent: Consent::NotSpecified.into(), ..customer("C00001") };
        world.import(vec![open], &["consent"]).await;
        let (barred, free) = ((true, true), (false, true));
        dispatchers.told_of_consent(&[(Sms, 2, free), (Email, 2, free)]).await;
        dispatchers.forget();
        blacklist(&mut world, true).await;
        blacklist(&mut world, false).await;
        dispatchers
            .told_of_consent(&[
                (Sms, 3, barred),
                (Email, 3, barred),
                (Sms, 4, free),
                (Email, 4, free),
            ])
            .await;
    }
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
