use carillon_contracts::{
    audience::v1::{
        CheckAudienceRequest, Consent, Customer, ForecastAudienceRequest, PreviewContentRequest,
        SetBlacklistedRequest, identifier::By,
    },
    campaign::v1::{Audience, CustomerList, Organisation, audience::Selection},
    events::v1::RunDue,
    ids::CustomerId,
    jobs::v1::{Content, EmailContent, SendJob, SmsContent},
};
use carillon_sealing::{Linked, Links, WrappingKey};
use prost::Message as _;
use tonic::Code;

use crate::{
    plans::{due, open, tell_due},
    world::{
        KEY, PUBLIC_URL, WRAPPING, World, count, customer, identified, next, reachable, signed,
    },
};

fn everyone() -> Audience {
    Audience { selection: Some(Selection::Everyone(true)) }
}

fn listed(ids: &[&str]) -> Audience {
    let external_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Audience { selection: Some(Selection::Customers(CustomerList { external_ids })) }
}

fn content() -> Content {
    Content {
        sms: Some(SmsContent {
            text: "Hi {UserName|friend}, {Points} points".into(),
            downgrade: false,
        }),
        email: Some(EmailContent {
            subject: "For {FirstName}".into(),
            text: "{attr.city|nowhere} {Organisation}".into(),
            html: "<p title=\"{LastName}\">{LastName}</p>".into(),
        }),
        template: None,
        test: false,
    }
}

#[tokio::test]
async fn an_audience_is_counted_and_unknown_customers_are_named() {
    let mut world = World::new().await;
    world.import((0..7).map(reachable).collect(), &[]).await;
    let organisation_id = world.organisation.to_string();
    let mut check = async |audience| {
        let organisation_id = organisation_id.clone();
        let request = CheckAudienceRequest { organisation_id, audience };
        world.audience.check_audience(request).await.map(|answer| answer.into_inner().count)
    };
    assert_eq!(check(Some(everyone())).await.expect("counted"), 7);
    assert_eq!(check(Some(listed(&["C00001", "C00002"]))).await.expect("counted"), 2);
    let filter = Audience { selection: Some(Selection::Filter("category:VIP".into())) };
    assert_eq!(check(Some(filter)).await.expect("counted"), 0);
    let unknown = listed(&["C00001", "X1", "X2", "X3", "X4", "X5", "X6"]);
    let refused = check(Some(unknown)).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let message = refused.message();
    assert!(message.contains("X5") && !message.contains("X6"), "{message}");
    assert!(message.contains("1 more"), "{message}");
    assert_eq!(check(None).await.expect_err("nobody").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_forecast_counts_messages_and_parts_and_shared_addresses_once() {
    let mut world = World::with(Organisation::default()).await;
    let mut rows: Vec<Customer> = (0..6).map(reachable).collect();
    rows[1].phone = rows[0].phone.clone();
    rows[2].subscribe_sms = Some(false);
    rows[3].first_name = "Жанна".into();
    rows[4].email = String::new();
    rows[5] = Customer { consent: Consent::Withheld.into(), ..customer("C00005") };
    world.import(rows, &[]).await;
    let request = ForecastAudienceRequest {
        organisation_id: world.organisation.to_string(),
        audience: Some(everyone()),
        content: Some(content()),
    };
    let forecast = world.audience.forecast_audience(request).await.expect("forecast").into_inner();
    assert_eq!((forecast.customers, forecast.matched), (6, 12));
    assert_eq!(forecast.matched, forecast.planned + forecast.skipped.values().sum::<u64>());
    let [sms, email] = &forecast.channels[..] else { panic!("two channels: {forecast:?}") };
    let counts = |skipped: &std::collections::BTreeMap<String, u64>| -> Vec<(String, u64)> {
        skipped.iter().map(|(reason, count)| (reason.clone(), *count)).collect()
    };
    let expected = [("duplicate_address", 1), ("no_consent", 1), ("unsubscribed", 1)];
    assert_eq!(counts(&sms.skipped), expected.map(|(reason, n)| (reason.to_owned(), n)));
    assert_eq!((sms.planned, sms.total_parts, sms.most_parts, sms.ucs2), (3, 3, 1, 1));
    assert_eq!((email.planned, email.total_parts), (4, 0));
    assert_eq!(email.skipped["no_address"], 1);
    let sql = "SELECT (SELECT COUNT(*) FROM batches) + (SELECT COUNT(*) FROM run_addresses)";
    let written = count(&world.database, sql).await;
    assert_eq!(written, 0, "nothing is planned");
}

#[tokio::test]
async fn a_forecast_and_a_preview_say_who_is_outside_the_markets() {
    let mut world = World::new().await;
    let dutch = Customer { phone: "+31612345678".into(), ..reachable(1) };
    world.import(vec![reachable(0), dutch], &[]).await;
    let organisation_id = world.organisation.to_string();
    let request = ForecastAudienceRequest {
        organisation_id: organisation_id.clone(),
        audience: Some(everyone()),
        content: Some(content()),
    };
    let forecast = async |world: &mut World| {
        let forecast = world.audience.forecast_audience(request.clone()).await.expect("forecast");
        let sms = &forecast.into_inner().channels[0];
        (sms.planned, sms.total_parts, sms.skipped.get("market_not_allowed").copied())
    };
    assert_eq!(forecast(&mut world).await, (2, 2, None));
    let markets = vec!["GB".to_owned()];
    world.settle(Organisation { markets, ..Organisation::default() }).await;
    assert_eq!(forecast(&mut world).await, (1, 1, Some(1)), "the settings hold at once");
    let request = PreviewContentRequest {
        organisation_id,
        customer: "C00001".into(),
        content: Some(content()),
    };
    let preview = world.audience.preview_content(request).await.expect("preview").into_inner();
    assert_eq!(preview.sms.expect("a text").skipped, "market_not_allowed");
    assert_eq!(preview.email.expect("an e-mail").skipped, "");
}

#[tokio::test]
async fn a_forecast_and_a_preview_say_what_parts_cost_where_they_go() {
    let mut world = World::new().await;
    let rates = [("NL".to_owned(), 3)].into();
    world.settle(Organisation { rates, ..Organisation::default() }).await;
    let dutch = Customer { phone: "+31612345678".into(), ..reachable(1) };
    world.import(vec![reachable(0), dutch], &[]).await;
    let organisation_id = world.organisation.to_string();
    let request = ForecastAudienceRequest {
        organisation_id: organisation_id.clone(),
        audience: Some(everyone()),
        content: Some(content()),
    };
    let forecast = world.audience.forecast_audience(request).await.expect("forecast").into_inner();
    let [sms, email] = &forecast.channels[..] else { panic!("two channels: {forecast:?}") };
    assert_eq!((sms.total_parts, sms.credits), (2, 4));
    assert_eq!((email.credits, forecast.credits), (0, 4));
    for (customer, credits) in [("C00000", 1), ("C00001", 3)] {
        let request = PreviewContentRequest {
            organisation_id: organisation_id.clone(),
            customer: customer.into(),
            content: Some(content()),
        };
        let preview = world.audience.preview_content(request).await.expect("preview").into_inner();
        let sms = preview.sms.expect("a text");
        assert_eq!((sms.parts, sms.credits), (1, credits), "{customer}");
    }
}

#[tokio::test]
async fn a_preview_shows_what_one_customer_would_get_and_why_not() {
    let mut world = World::new().await;
    let ann = Customer {
        last_name: "O'Hara & <b>Sons</b>".into(),
        points: 12,
        attributes: [("city".into(), "Delft".into())].into(),
        ..reachable(1)
    };
    world.import(vec![ann], &[]).await;
    let organisation_id = world.organisation.to_string();
    let request = |customer: &str| PreviewContentRequest {
        organisation_id: organisation_id.clone(),
        customer: customer.into(),
        content: Some(content()),
    };
    let preview = world.audience.preview_content(request("C00001")).await.expect("previewed");
    let preview = preview.into_inner();
    let (sms, email) = (preview.sms.expect("an SMS"), preview.email.expect("an e-mail"));
    assert_eq!((sms.text.as_str(), sms.to.as_str()), ("Hi First1, 12 points", "+442079400001"));
    assert_eq!((sms.encoding.as_str(), sms.parts, sms.skipped.as_str()), ("GSM-7", 1, ""));
    assert_eq!(sms.left_in_part, 140);
    assert_eq!(email.subject, "For First1");
    assert_eq!(email.text, "Delft Café Carillon");
    let escaped = "O&#39;Hara &amp; &lt;b&gt;Sons&lt;/b&gt;";
    assert_eq!(email.html, format!("<p title=\"{escaped}\">{escaped}</p>"));
    let blacklist = SetBlacklistedRequest {
        identifier: identified(By::ExternalId("C00001".into())),
        blacklisted: true,
    };
    world.customers.set_blacklisted(signed(blacklist, KEY)).await.expect("set");
    let preview = world.audience.preview_content(request("C00001")).await.expect("previewed");
    let preview = preview.into_inner();
    assert_eq!(preview.sms.expect("an SMS").skipped, "blacklisted");
    let missing = world.audience.preview_content(request("C9")).await.expect_err("nobody");
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_link_is_shown_and_counted_but_not_planned() {
    let mut world = World::new().await;
    world.import(vec![reachable(1)], &[]).await;
    let text = "Stop: {UnsubscribeUrl}".into();
    let linked = Content { sms: Some(SmsContent { text, downgrade: false }), ..Content::default() };
    let organisation_id = world.organisation.to_string();
    let request = PreviewContentRequest {
        organisation_id: organisation_id.clone(),
        customer: "C00001".into(),
        content: Some(linked.clone()),
    };
    let preview = world.audience.preview_content(request).await.expect("previewed").into_inner();
    let shown = preview.sms.expect("an SMS");
    let token = shown.text.strip_prefix(&format!("Stop: {PUBLIC_URL}/u/")).expect("a link");
    let expected = Linked {
        organisation: world.organisation.uuid(),
        customer: CustomerId::of(world.organisation, "C00001").uuid(),
        channel: 1,
    };
    let links = Links::new(PUBLIC_URL, &WrappingKey::new(WRAPPING));
    assert_eq!(links.read(token), Some(expected));
    let request = ForecastAudienceRequest {
        organisation_id,
        audience: Some(everyone()),
        content: Some(linked.clone()),
    };
    let forecast = world.audience.forecast_audience(request).await.expect("forecast").into_inner();
    assert_eq!(forecast.channels[0].most_parts, shown.parts, "a link counts as long as it is");
    tell_due(&mut world, RunDue { content: Some(linked), ..due("everyone") }).await;
    let mut jobs = world.consume("jobs.sms.bulk").await;
    let job = SendJob::decode(next(jobs.as_mut()).await.expect("a job")).expect("a job");
    assert!(open(&job).variables.is_empty());
}
