use carillon_contracts::{
    audience::v1::{
        ConfirmSubscriptionRequest, Consent, Customer, ListCustomersRequest, SetBlacklistedRequest,
        SetSubscriptionRequest, UpdateCustomerRequest, identifier::By,
        set_subscription_request::Customers,
    },
    campaign::v1::{ConsentDefault, Organisation},
    jobs::v1::Channel,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    dispatchers::Dispatchers,
    world::{KEY, World, customer, identified, reachable, reasons, signed},
};

fn ann() -> Customer {
    Customer {
        cards: vec!["LC-1".into(), "LC-2".into()],
        first_name: "Ann".into(),
        last_name: "O'Hara".into(),
        display_name: "Annie".into(),
        phone: "+44 20 7946 0001".into(),
        email: " Ann@Example.ORG ".into(),
        birthday: "--02-29".into(),
        language: "en-GB".into(),
        time_zone: "Europe/London".into(),
        categories: vec!["VIP".into()],
        points: 40,
        favourite: true,
        consent: Consent::Given.into(),
        subscribe_sms: Some(true),
        subscribe_email: Some(false),
        joined_at: "2025-05-26".into(),
        attributes: [("city".into(), "Delft".into())].into(),
        programmes: vec!["Gold".into()],
        wallet_passes: vec!["pass-1".into()],
        ..customer("C1")
    }
}

#[tokio::test]
async fn a_customer_comes_back_as_stored() {
    let mut world = World::new().await;
    let answer = world.import(vec![ann()], &[]).await;
    assert_eq!((answer.stored, reasons(&answer)), (1, vec![]));
    let mut stored = world.get("C1").await;
    assert!(!stored.id.is_empty() && stored.create_time.is_some());
    (stored.id, stored.create_time, stored.update_time) = (String::new(), None, None);
    let expected =
        Customer { phone: "+442079460001".into(), email: "Ann@Example.ORG".into(), ..ann() };
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_customer_is_found_by_every_identifier() {
    let mut world = World::new().await;
    world.import(vec![ann(), reachable(7)], &[]).await;
    let ways = [
        By::ExternalId("C1".into()),
        By::Phone("+44 (0)20 7946 0001".into()),
        By::Email("Ann@EXAMPLE.org".into()),
        By::Card("LC-2".into()),
        By::Name("ann  o'hara".into()),
        By::Name("ANNIE".into()),
    ];
    for by in ways {
        assert_eq!(world.find(by.clone()).await.expect("found").external_id, "C1", "{by:?}");
    }
    for by in [By::ExternalId("C2".into()), By::Card("LC-3".into()), By::Name("Nobody".into())] {
        assert_eq!(world.find(by).await.expect_err("nobody").code(), Code::NotFound);
    }
    let wrong = world.find(By::Phone("call me".into())).await.expect_err("no number");
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_identifier_of_several_customers_is_refused_with_their_number() {
    let mut world = World::new().await;
    let namesake = Customer { display_name: "Ann O'Hara".into(), ..customer("C2") };
    world.import(vec![ann(), namesake], &[]).await;
    let refused = world.find(By::Name("Ann O'Hara".into())).await.expect_err("two");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("2 customers"), "{}", refused.message());
    let household = Customer { phone: ann().phone, ..customer("C3") };
    world.import(vec![household], &["phone"]).await;
    let refused = world.find(By::Phone(ann().phone)).await.expect_err("two");
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_mask_changes_the_fields_that_it_names() {
    let mut world = World::new().await;
    world.import(vec![ann()], &[]).await;
    let change = Customer {
        last_name: "Lee".into(),
        attributes: [("shirt".into(), "M".into())].into(),
        ..customer("C1")
    };
    let paths = ["last_name", "attributes.shirt", "external_id"];
    assert_eq!(world.import(vec![change.clone()], &paths).await.stored, 1);
    assert_eq!(world.import(vec![change], &paths).await.unchanged, 1);
    let stored = world.get("C1").await;
    assert_eq!((stored.first_name.as_str(), stored.last_name.as_str()), ("Ann", "Lee"));
    assert_eq!(stored.attributes.len(), 2);
    assert_eq!(stored.cards.len(), 2);
    let refused = world.try_import(KEY, vec![customer("C1")], &["nonsense"]).await;
    assert_eq!(refused.expect_err("unknown").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn withheld_consent_erases_personal_data_and_refuses_more() {
    let mut world = World::new().await;
    world.import(vec![ann()], &[]).await;
    let withheld = Customer { consent: Consent::Withheld.into(), ..customer("C1") };
    assert_eq!(world.import(vec![withheld], &["consent"]).await.stored, 1);
    let stored = world.get("C1").await;
    assert_eq!((stored.phone.as_str(), stored.first_name.as_str()), ("", ""));
    assert!(stored.cards.is_empty() && stored.attributes.is_empty());
    let gone = world.find(By::Phone("+442079460001".into())).await.expect_err("erased");
    assert_eq!(gone.code(), Code::NotFound);
    let more = world.import(vec![ann()], &["phone"]).await;
    assert_eq!(reasons(&more), [(0, "withheld_with_personal_data")]);
    let takes_over = Customer { cards: vec!["LC-1".into()], ..customer("C2") };
    assert_eq!(world.import(vec![takes_over], &[]).await.stored, 1, "the card is free again");
}

#[tokio::test]
async fn rows_of_one_request_that_clash_are_rejected_and_the_others_stored() {
    let mut world = World::new().await;
    let with_card = |id: &str, card: &str| Customer { cards: vec![card.into()], ..customer(id) };
    let rows = vec![
        with_card("A", "K1"),
        with_card("B", "K1"),
        with_card("A", "K2"),
        with_card("C", "K3"),
    ];
    let answer = world.import(rows, &[]).await;
    assert_eq!(answer.stored, 2);
    assert_eq!(reasons(&answer), [(1, "card_taken"), (2, "duplicate_in_file")]);
    let moved = vec![with_card("A", "K9"), with_card("B", "K1")];
    assert_eq!(world.import(moved, &[]).await.stored, 2, "A let K1 go before B took it");
    assert_eq!(world.find(By::Card("K1".into())).await.expect("found").external_id, "B");
}

#[tokio::test]
async fn a_request_of_more_than_a_thousand_rows_is_refused() {
    let mut world = World::new().await;
    let rows = (0..1_001).map(|number| customer(&format!("C{number}"))).collect();
    let refused = world.try_import(KEY, rows, &[]).await.expect_err("too many");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn new_customers_get_the_defaults_of_the_organisation() {
    let mut world = World::with(Organisation {
        consent_default: ConsentDefault::Given.into(),
        subscribe_default: true,
        default_region: "GB".into(),
        ..Organisation::default()
    })
    .await;
    let row = Customer { phone: "020 7946 0009".into(), ..customer("C1") };
    world.import(vec![row], &["phone"]).await;
    let stored = world.get("C1").await;
    assert_eq!(stored.phone, "+442079460009");
    assert_eq!(stored.consent(), Consent::Given);
    assert_eq!((stored.subscribe_sms, stored.subscribe_email), (Some(true), Some(false)));
}

#[tokio::test]
async fn a_subscription_with_double_opt_in_waits_for_its_confirmation() {
    let settings = Organisation { double_opt_in: true, ..Organisation::default() };
    let mut world = World::with(settings).await;
    let _dispatchers = Dispatchers::start(&world).await;
    world.import(vec![reachable(1)], &[]).await;
    let stored = world.get("C00001").await;
    assert_eq!(stored.subscribe_sms, Some(false));
    assert_eq!(stored.pending_channels, [i32::from(Channel::Sms), Channel::Email.into()]);
    let confirm = |channel: Channel| ConfirmSubscriptionRequest {
        identifier: identified(By::ExternalId("C00001".into())),
        channel: channel.into(),
    };
    let request = signed(confirm(Channel::Sms), KEY);
    let stored = world.customers.confirm_subscription(request).await.expect("confirmed");
    let stored = stored.into_inner();
    assert_eq!(stored.subscribe_sms, Some(true));
    assert_eq!(stored.pending_channels, [i32::from(Channel::Email)]);
    let withdraw = SetSubscriptionRequest {
        customers: Some(Customers::Filter("everyone".into())),
        channels: vec![],
        subscribed: false,
    };
    let answer = world.customers.set_subscription(signed(withdraw, KEY)).await.expect("set");
    assert_eq!((answer.get_ref().matched, answer.get_ref().changed), (1, 1));
    let stored = world.get("C00001").await;
    assert_eq!((stored.subscribe_sms, stored.pending_channels.len()), (Some(false), 0));
    let request = signed(confirm(Channel::Email), KEY);
    let refused = world.customers.confirm_subscription(request).await.expect_err("withdrawn");
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn subscriptions_are_set_for_one_or_for_all_that_match() {
    let mut world = World::new().await;
    let vip = |number| Customer { categories: vec!["VIP".into()], ..reachable(number) };
    let _dispatchers = Dispatchers::start(&world).await;
    world.import(vec![vip(1), vip(2), reachable(3)], &[]).await;
    let mut set = async |customers, channels: Vec<i32>, subscribed| {
        let request = SetSubscriptionRequest { customers: Some(customers), channels, subscribed };
        world.customers.set_subscription(signed(request, KEY)).await.map(|answer| {
            let answer = answer.into_inner();
            (answer.matched, answer.changed)
        })
    };
    let vips = Customers::Filter("category:VIP".into());
    let sms = vec![i32::from(Channel::Sms)];
    assert_eq!(set(vips.clone(), sms.clone(), false).await.expect("set"), (2, 2));
    assert_eq!(set(vips, sms, false).await.expect("set"), (2, 0));
    let one = Customers::Identifier(identified(By::ExternalId("C00003".into())).expect("one"));
    assert_eq!(set(one, vec![], false).await.expect("set"), (1, 1));
    let empty = set(Customers::Filter(" ".into()), vec![], false).await.expect_err("a slip");
    assert_eq!(empty.code(), Code::InvalidArgument);
    assert_eq!(set(Customers::Filter("everyone".into()), vec![], true).await.expect("set"), (3, 3));
    let stored = world.get("C00001").await;
    assert_eq!((stored.subscribe_sms, stored.subscribe_email), (Some(true), Some(true)));
}

#[tokio::test]
async fn a_customer_is_blacklisted_by_every_identifier() {
    let mut world = World::new().await;
    let _dispatchers = Dispatchers::start(&world).await;
    world.import(vec![ann(), reachable(1)], &[]).await;
    let ways = [
        By::ExternalId("C1".into()),
        By::Phone("+442079460001".into()),
        By::Email("Ann@example.org".into()),
        By::Card("LC-1".into()),
        By::Name("Ann O'Hara".into()),
    ];
    for by in ways {
        for blacklisted in [true, false] {
            let request = SetBlacklistedRequest { identifier: identified(by.clone()), blacklisted };
            let request = signed(request, KEY);
            let answer = world.customers.set_blacklisted(request).await.expect("set").into_inner();
            assert_eq!((answer.external_id.as_str(), answer.blacklisted), ("C1", blacklisted));
        }
    }
    let request = SetBlacklistedRequest {
        identifier: identified(By::ExternalId("C1".into())),
        blacklisted: true,
    };
    world.customers.set_blacklisted(signed(request, KEY)).await.expect("set");
    world.import(vec![ann()], &[]).await;
    assert!(world.get("C1").await.blacklisted, "an import does not take anybody off");
}

#[tokio::test]
async fn one_customer_is_updated_or_created_where_that_is_allowed() {
    let mut world = World::new().await;
    let request = |allow_missing| UpdateCustomerRequest {
        customer: Some(ann()),
        update_mask: None,
        allow_missing,
    };
    let missing = world.customers.update_customer(signed(request(false), KEY)).await;
    assert_eq!(missing.expect_err("missing").code(), Code::NotFound);
    let created = world.customers.update_customer(signed(request(true), KEY)).await;
    assert_eq!(created.expect("created").into_inner().first_name, "Ann");
    let taken = UpdateCustomerRequest {
        customer: Some(Customer { cards: vec!["LC-1".into()], ..customer("C2") }),
        update_mask: Some(FieldMask { paths: vec!["cards".into()] }),
        allow_missing: true,
    };
    let refused = world.customers.update_customer(signed(taken, KEY)).await.expect_err("taken");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let faulty = UpdateCustomerRequest {
        customer: Some(Customer { phone: "call me".into(), ..ann() }),
        ..UpdateCustomerRequest::default()
    };
    let refused = world.customers.update_customer(signed(faulty, KEY)).await.expect_err("faulty");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("customer.phone: "), "{}", refused.message());
}

#[tokio::test]
async fn lists_are_paged_by_external_id_and_tokens_belong_to_their_filter() {
    let mut world = World::new().await;
    let rows: Vec<Customer> = (0..25).map(reachable).collect();
    world.import(rows, &[]).await;
    let mut ids = Vec::new();
    let mut request = ListCustomersRequest { page_size: 10, ..ListCustomersRequest::default() };
    let mut pages = 0;
    loop {
        let page = world.customers.list_customers(signed(request.clone(), KEY)).await;
        let page = page.expect("listed").into_inner();
        pages += 1;
        ids.extend(page.customers.into_iter().map(|customer| customer.external_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, 3);
    let expected: Vec<String> = (0..25).map(|number| format!("C{number:05}")).collect();
    assert_eq!(ids, expected);
    request.filter = "category:VIP".into();
    let foreign = world.customers.list_customers(signed(request.clone(), KEY)).await;
    assert_eq!(foreign.expect_err("foreign").code(), Code::InvalidArgument);
    request =
        ListCustomersRequest { filter: "points > 5".into(), ..ListCustomersRequest::default() };
    let unknown = world.customers.list_customers(signed(request, KEY)).await;
    assert_eq!(unknown.expect_err("not yet").code(), Code::InvalidArgument);
}
