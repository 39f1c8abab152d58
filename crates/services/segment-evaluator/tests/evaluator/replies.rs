//! STOP and START, as the SMS dispatcher tells of them.

use carillon_broker::topology;
use carillon_contracts::{
    audience::v1::{
        Consent, Customer, OptOutRequest, SetBlacklistedRequest, SetSubscriptionRequest,
        identifier::By, set_subscription_request::Customers,
    },
    campaign::v1::Organisation,
    events::v1::{
        Keyword::{self, Start, Stop},
        ReplyReceived,
        event::Body,
    },
    ids::CustomerId,
    jobs::v1::Channel::Sms,
    time,
};
use carillon_sealing::WrappingKey;
use carillon_segment_evaluator::{ConsentLog, verify_consent_log};
use carillon_service_kit::database::Sql as _;
use carillon_tenancy::{REPLY_NUMBER, seal_secret};
use carillon_testkit::eventually;
use jiff::SignedDuration;

use crate::{
    dispatchers::Dispatchers,
    world::{KEY, NOW, WRAPPING, World, count, customer, identified, reachable, signed},
};

/// Of somebody who replies last: what was told before has been handled then.
const LAST: &str = "+442079409999";

fn reply(world: &World, number: &str, keyword: Keyword, second: i64) -> Body {
    let key = WrappingKey::new(WRAPPING);
    let sealed = seal_secret(&key, world.organisation, REPLY_NUMBER, number.as_bytes());
    let at = NOW.parse::<jiff::Timestamp>().expect("valid") + SignedDuration::from_secs(second);
    Body::ReplyReceived(ReplyReceived {
        number: Some(sealed.expect("sealed")),
        keyword: keyword.into(),
        receive_time: Some(time::to_wire(at)),
    })
}

/// The dispatcher tells of it; `second` is when it came there.
async fn says(world: &mut World, number: &str, keyword: Keyword, second: i64) {
    let body = reply(world, number, keyword, second);
    world.tell(topology::SMS_DISPATCHER, topology::REPLY_RECEIVED, body).await;
}

/// With somebody who replies last.
async fn world(settings: Organisation, customers: Vec<Customer>) -> World {
    let mut world = World::with(settings).await;
    let last = Customer { phone: LAST.into(), subscribe_sms: Some(true), ..customer("LAST") };
    world.import(vec![last], &[]).await;
    world.import(customers, &[]).await;
    world
}

/// Everything that was told before is handled.
async fn all_heard(world: &mut World) {
    let before = logged(world, "LAST").await.len();
    let keyword = if before % 2 == 0 { Stop } else { Start };
    says(world, LAST, keyword, 1_000 + i64::try_from(before).expect("few")).await;
    let world = &*world;
    let heard = || async { logged(world, "LAST").await.len() == before + 1 };
    eventually("the last reply is heard", heard).await;
}

/// What the log says that a customer's replies changed.
async fn logged(world: &World, external_id: &str) -> Vec<(String, String)> {
    let sql = "SELECT from_consent, to_consent FROM consent_log
               WHERE customer_id = $1 AND changed_by = 'reply' ORDER BY n";
    let id = CustomerId::of(world.organisation, external_id);
    let rows = world.database.reader().rows(sql, [id.uuid().into()]).await.expect("read");
    let text = |row: &sea_orm::QueryResult, at| row.try_get_by_index::<String>(at).expect("text");
    rows.iter().map(|row| (text(row, 0), text(row, 1))).collect()
}

fn change(from: &str, to: &str) -> (String, String) {
    (from.to_owned(), to.to_owned())
}

/// Whether each gets SMS.
async fn subscribed(world: &mut World, ids: &[&str]) -> Vec<bool> {
    let mut all = Vec::new();
    for id in ids {
        all.push(world.get(id).await.subscribe_sms.expect("said"));
    }
    all
}

fn sharing(external_id: &str, number: usize) -> Customer {
    Customer { external_id: external_id.into(), ..reachable(number) }
}

const ONE: &str = "+442079400001";

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_holds_for_all_who_share_the_number_until_a_start() {
    let customers = vec![sharing("A", 1), sharing("B", 1), sharing("C", 2)];
    let mut world = world(Organisation::default(), customers).await;
    let dispatchers = Dispatchers::start(&world).await;
    says(&mut world, ONE, Stop, 1).await;
    dispatchers.told(&[(Sms, 2, true), (Sms, 2, true)]).await;
    assert_eq!(subscribed(&mut world, &["A", "B", "C"]).await, [false, false, true]);
    assert_eq!(world.get("A").await.subscribe_email, Some(true), "e-mail is another matter");
    says(&mut world, ONE, Start, 2).await;
    dispatchers.told(&[(Sms, 2, true), (Sms, 2, true), (Sms, 3, false), (Sms, 3, false)]).await;
    assert_eq!(subscribed(&mut world, &["A", "B", "C"]).await, [true, true, true]);
    let expected = [
        change("sms_subscribed", "sms_unsubscribed"),
        change("sms_unsubscribed", "sms_subscribed"),
    ];
    assert_eq!(logged(&world, "A").await, expected);
    assert_eq!(logged(&world, "B").await, expected);
    assert_eq!(logged(&world, "C").await, []);
    let checked = verify_consent_log(&world.database, world.organisation).await.expect("checked");
    assert_eq!(checked, ConsentLog::Whole(4 + 4), "chained behind the four imports");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_found_however_the_provider_writes_it() {
    let settings = Organisation { default_region: "GB".into(), ..Organisation::default() };
    let customers = (1..=4).map(reachable).collect();
    let mut world = world(settings, customers).await;
    says(&mut world, " 442079400001", Stop, 1).await;
    says(&mut world, "020 7940 0002", Stop, 1).await;
    says(&mut world, "00442079400003", Stop, 1).await;
    all_heard(&mut world).await;
    let ids = ["C00001", "C00002", "C00003", "C00004"];
    assert_eq!(subscribed(&mut world, &ids).await, [false, false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_nobody_has_changes_nothing() {
    let mut world = world(Organisation::default(), vec![reachable(1)]).await;
    let dispatchers = Dispatchers::start(&world).await;
    for number in ["+31612345678", "12345", "Cafe", "+442079400002"] {
        says(&mut world, number, Stop, 1).await;
    }
    all_heard(&mut world).await;
    dispatchers.told(&[(Sms, 2, true)]).await;
    assert_eq!(subscribed(&mut world, &["C00001"]).await, [true]);
    let parked = count(&world.database, "SELECT COUNT(*) FROM parked").await;
    assert_eq!(parked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_reply_counts_whichever_is_handled_first() {
    let mut world = world(Organisation::default(), vec![reachable(1), reachable(2)]).await;
    // Her last word is START: the STOP before it comes again, and late.
    says(&mut world, ONE, Stop, 1).await;
    says(&mut world, ONE, Start, 5).await;
    says(&mut world, ONE, Stop, 1).await;
    says(&mut world, ONE, Stop, 4).await;
    // His last word is STOP, though he was not subscribed when it came to be handled.
    says(&mut world, "+442079400002", Stop, 1).await;
    says(&mut world, "+442079400002", Stop, 5).await;
    says(&mut world, "+442079400002", Start, 4).await;
    says(&mut world, "+442079400002", Start, 5).await;
    all_heard(&mut world).await;
    assert_eq!(subscribed(&mut world, &["C00001", "C00002"]).await, [true, false]);
    assert_eq!(logged(&world, "C00001").await.len(), 2);
    assert_eq!(logged(&world, "C00002").await.len(), 1);
    says(&mut world, "+442079400002", Start, 6).await;
    all_heard(&mut world).await;
    assert_eq!(subscribed(&mut world, &["C00002"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_takes_back_the_customers_own_opt_outs_and_nothing_else() {
    let never = Customer { subscribe_sms: Some(false), ..reachable(3) };
    let customers = vec![reachable(1), reachable(2), never, reachable(4)];
    let mut world = world(Organisation::default(), customers).await;
    // By a link, like a STOP.
    let opt_out = OptOutRequest {
        organisation_id: world.organisation.to_wire().to_vec(),
        customer_id: CustomerId::of(world.organisation, "C00001").to_wire().to_vec(),
        channel: Sms.into(),
    };
    world.audience.opt_out(opt_out).await.expect("stored");
    // By somebody else.
    let by_hand = SetSubscriptionRequest {
        customers: Some(Customers::Identifier(
            identified(By::ExternalId("C00002".into())).expect("one"),
        )),
        channels: vec![Sms.into()],
        subscribed: false,
    };
    world.customers.set_subscription(signed(by_hand, KEY)).await.expect("set");
    // By both, in this order: what the customer said stays the customer's to take back.
    says(&mut world, "+442079400004", Stop, 1).await;
    all_heard(&mut world).await;
    let again = Customer { subscribe_sms: Some(false), ..customer("C00004") };
    world.import(vec![again], &["subscribe_sms"]).await;
    for number in 1..=4 {
        says(&mut world, &format!("+44207940000{number}"), Start, 2).await;
    }
    all_heard(&mut world).await;
    let ids = ["C00001", "C00002", "C00003", "C00004"];
    assert_eq!(subscribed(&mut world, &ids).await, [true, false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_is_not_for_who_is_on_the_blacklist_or_withheld_consent() {
    let mut world = world(Organisation::default(), vec![reachable(1), reachable(2)]).await;
    says(&mut world, ONE, Stop, 1).await;
    says(&mut world, "+442079400002", Stop, 1).await;
    all_heard(&mut world).await;
    let identifier = identified(By::ExternalId("C00001".into()));
    let blacklist = SetBlacklistedRequest { identifier, blacklisted: true };
    world.customers.set_blacklisted(signed(blacklist, KEY)).await.expect("set");
    let withheld = Customer { consent: Consent::Withheld.into(), ..customer("C00002") };
    world.import(vec![withheld], &["consent"]).await;
    says(&mut world, ONE, Start, 2).await;
    says(&mut world, "+442079400002", Start, 2).await;
    all_heard(&mut world).await;
    assert_eq!(subscribed(&mut world, &["C00001", "C00002"]).await, [false, false]);
    assert_eq!(
        (logged(&world, "C00001").await.len(), logged(&world, "C00002").await.len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_required_and_missing_keeps_a_start_from_being_sent_to() {
    let mut world = world(Organisation::default(), vec![reachable(1)]).await;
    says(&mut world, ONE, Stop, 1).await;
    all_heard(&mut world).await;
    world.settle(Organisation { require_consent: true, ..Organisation::default() }).await;
    let dispatchers = Dispatchers::start(&world).await;
    let (stopped, back) = ((Sms, 2, (true, true)), (Sms, 3, (false, true)));
    dispatchers.told_of_consent(&[stopped, stopped]).await;
    says(&mut world, ONE, Start, 2).await;
    dispatchers.told_of_consent(&[stopped, stopped, back]).await;
    assert_eq!(subscribed(&mut world, &["C00001"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_cannot_be_opened_is_parked_and_holds_up_no_other() {
    let mut world = world(Organisation::default(), vec![reachable(1)]).await;
    let damaged = ReplyReceived { keyword: Stop.into(), ..ReplyReceived::default() };
    let body = Body::ReplyReceived(damaged);
    world.tell(topology::SMS_DISPATCHER, topology::REPLY_RECEIVED, body).await;
    says(&mut world, ONE, Stop, 1).await;
    all_heard(&mut world).await;
    assert_eq!(subscribed(&mut world, &["C00001"]).await, [false]);
    let (world, parked) = (&world, "SELECT COUNT(*) FROM parked");
    eventually("it is parked", || async { count(&world.database, parked).await == 1 }).await;
}
