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

/// Every way to change who may be sent to, and its word on being in effect.
async fn changed(world: &mut World, on: bool) -> Vec<(&'static str, Option<bool>)> {
    let one = || identified(By::ExternalId("C00001".into()));
    let mut said = Vec::new();
    let whom = [Customers::Identifier(one().expect("one")), Customers::Filter("everyone".into())];
    for (customers, channel) in whom.into_iter().zip([Sms, Email]) {
        let request = SetSubscriptionRequest {
            customers: Some(customers),
            channels: vec![channel.into()],
            subscribed: on,
        };
        let set = world.customers.set_subscription(signed(request, KEY)).await.expect("set");
        said.push(("set_subscription", Some(set.into_inner().in_effect)));
    }
    let given = Customer { subscribe_email: Some(!on), ..customer("C00001") };
    let paths = vec!["subscribe_email".to_owned()];
    for _ in 0..2 {
        let request = UpdateCustomerRequest {
            customer: Some(given.clone()),
            update_mask: Some(FieldMask { paths: paths.clone() }),
            allow_missing: false,
        };
        let updated = world.customers.update_customer(signed(request, KEY)).await.expect("updated");
        said.push(("update_customer", updated.into_inner().in_effect));
    }
    let given = Customer { subscribe_email: Some(on), ..customer("C00001") };
    said.push(("import", world.import(vec![given], &["subscribe_email"]).await.in_effect));
    for blacklisted in [true, false] {
        let request = SetBlacklistedRequest { identifier: one(), blacklisted };
        let listed = world.customers.set_blacklisted(signed(request, KEY)).await.expect("set");
        said.push(("set_blacklisted", listed.into_inner().in_effect));
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_says_whether_dispatchers_obey_it_and_not_yet_where_they_do_not() {
    let mut world = World::new().await;
    let new = world.import(vec![reachable(1)], &[]).await;
    assert_eq!(new.in_effect, None, "nothing can be queued for somebody new");
    for (verb, in_effect) in changed(&mut world, false).await {
        assert_eq!(in_effect, Some(false), "{verb}: no dispatcher has said anything");
    }
    assert_eq!(world.get("C00001").await.in_effect, None, "it is of an answer alone");
    let named = Customer { first_name: "Zoë".into(), ..customer("C00001") };
    let request = UpdateCustomerRequest {
        customer: Some(named),
        update_mask: Some(FieldMask { paths: vec!["first_name".into()] }),
        allow_missing: false,
    };
    let updated = world.customers.update_customer(signed(request, KEY)).await.expect("updated");
    assert_eq!(updated.into_inner().in_effect, None, "a name is no dispatcher's business");

    let _dispatchers = Dispatchers::start(&world).await;
    let everyone = || SetSubscriptionRequest {
        customers: Some(Customers::Filter("everyone".into())),
        channels: vec![Email.into()],
        subscribed: false,
    };
    let mut tries = 0;
    // Nothing changes any more: it says when what was stored before is in effect.
    loop {
        let set = world.customers.set_subscription(signed(everyone(), KEY)).await.expect("set");
        if set.into_inner().in_effect {
            break;
        }
        tries += 1;
        assert!(tries < 30, "what was stored never takes effect");
    }
    for (verb, in_effect) in changed(&mut world, true).await {
        assert_eq!(in_effect, Some(true), "{verb}");
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
