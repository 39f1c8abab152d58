//! An organisation with a gateway and a standby; and what former gateways still have to say.

mod former;

use std::net::SocketAddr;

use carillon_broker::{Consumer, topology};
use carillon_contracts::{
    campaign::v1::{HttpGateway, SmsGateway, TwilioGateway, sms_gateway::Kind},
    events::v1::{Event, GatewayChanged, event::Body},
    ids::MessageId,
};
use carillon_sinks::sms::{Behaviour, Options, SmsSink};
use carillon_testkit::eventually;
use jiff::SignedDuration;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::harness::{Harness, OTHER_TOKEN, TOKEN};

/// After it a gateway that is down may be probed, however often it was before.
const PROBED: SignedDuration = SignedDuration::from_secs(301);

fn not_now() -> Behaviour {
    Behaviour::Answer { status: 503, retry_after: Some(1), body: String::new() }
}

async fn sink(account: &str, token: &str, receipts: &[&str]) -> SmsSink {
    let login = Some((account.to_owned(), token.to_owned()));
    let receipts = receipts.iter().map(|status| (*status).to_owned()).collect();
    SmsSink::start(Options { login, receipts, ..Options::default() }).await.expect("it listens")
}

fn twilio(url: String, account: &str) -> Option<SmsGateway> {
    let kind = Kind::Twilio(TwilioGateway { base_url: url, account: account.into() });
    Some(SmsGateway { kind: Some(kind), from: "+15005550006".into(), rate: 0 })
}

/// A house whose gateway and standby are both there.
async fn started(receipts: &[&str]) -> (Harness, SmsSink, SmsSink) {
    let house = Harness::start().await;
    let (first, standby) =
        (sink("AC1", TOKEN, receipts).await, sink("AC2", OTHER_TOKEN, receipts).await);
    house.settings_of(twilio(first.url(), "AC1"), twilio(standby.url(), "AC2"), TOKEN).await;
    (house, first, standby)
}

async fn all_later(house: &Harness, messages: &[MessageId], state: &str) {
    for message in messages {
        house.until_later(*message, state).await;
    }
}

/// What organisations are told of their gateways.
async fn told(house: &Harness) -> Box<dyn Consumer> {
    house.hear(topology::CAMPAIGN_API, topology::GATEWAY_CHANGED).await
}

async fn next(consumer: &mut dyn Consumer) -> GatewayChanged {
    let delivery = consumer.next().await.expect("it is told");
    let event = Event::decode(delivery.body.clone()).expect("an event");
    delivery.ack();
    let Some(Body::GatewayChanged(changed)) = event.body else { panic!("another event") };
    changed
}

fn count(sink: &SmsSink, messages: &[MessageId]) -> usize {
    let taken = sink.taken();
    messages.iter().filter_map(|message| taken.get(&message.to_string())).sum()
}

/// The gateway takes nothing any more, and is known not to.
async fn go_down(house: &Harness, first: &SmsSink) {
    first.otherwise(not_now());
    let messages = house.send("it goes down", 20).await;
    all_later(house, &messages, "sent").await;
    assert_eq!(count(first, &messages), 0);
}

#[tokio::test]
async fn what_a_gateway_does_not_take_leaves_by_the_standby() {
    let (house, first, standby) = started(&[]).await;
    let mut told = told(&house).await;
    first.otherwise(not_now());
    let messages = house.send("hello", 60).await;
    all_later(&house, &messages, "sent").await;
    assert_eq!((first.total(), count(&standby, &messages)), (0, 60));
    assert!(standby.taken().values().all(|times| *times == 1));
    // It is left alone: whoever failed there five times in a row does not ask for each message.
    assert!((5..60).contains(&first.requests()), "{} requests", first.requests());
    let changed = next(told.as_mut()).await;
    let (code, has_standby) = ("http_503".to_owned(), true);
    assert_eq!((changed.up, changed.code, changed.has_standby), (false, code, has_standby));
    let name = format!("twilio/127.0.0.1:{}/AC1", first.address().port());
    assert_eq!(changed.gateway, name);
    house.stop().await;
}

#[tokio::test]
async fn who_cannot_be_reached_is_stood_in_for() {
    let (house, standby) = (Harness::start().await, sink("AC2", OTHER_TOKEN, &[]).await);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let nobody = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let mut told = told(&house).await;
    house.settings_of(twilio(nobody, "AC1"), twilio(standby.url(), "AC2"), TOKEN).await;
    let messages = house.send("hello", 40).await;
    all_later(&house, &messages, "sent").await;
    assert_eq!(count(&standby, &messages), 40);
    assert_eq!(next(told.as_mut()).await.code, "connect_refused");
    house.stop().await;
}

#[tokio::test]
async fn what_is_in_doubt_at_one_is_never_sent_by_the_other() {
    let (house, first, standby) = started(&[]).await;
    first.otherwise(Behaviour::AcceptAndClose);
    let messages = house.send("hello", 200).await;
    let mut unknown = 0;
    for message in &messages {
        let state = house.until_one_of(*message, &["sent", "unknown"]).await.state;
        let both = [&first, &standby].map(|sink| count(sink, &[*message]));
        assert_eq!(both, if state == "sent" { [0, 1] } else { [1, 0] }, "{state}");
        unknown += usize::from(state == "unknown");
    }
    // What was in hand at the fifth doubt may follow it; the rest is claimed for the standby.
    assert!((5..=64).contains(&unknown), "{unknown} are unknown");
    house.stop().await;
}

#[tokio::test]
async fn what_is_in_doubt_where_ids_are_known_waits_for_its_own_gateway() {
    let house = Harness::start().await;
    let idempotency_header = Some("Idempotency-Key".to_owned());
    let options = Options { idempotency_header, ..Options::default() };
    let first = SmsSink::start(options).await.expect("it listens");
    let standby = sink("AC2", OTHER_TOKEN, &[]).await;
    let http = HttpGateway {
        url: format!("{}/send", first.url()),
        idempotency_header: "Idempotency-Key".into(),
        ..HttpGateway::default()
    };
    let keyed = SmsGateway { kind: Some(Kind::Http(http)), from: "Cafe".into(), rate: 0 };
    house.settings_of(Some(keyed), twilio(standby.url(), "AC2"), TOKEN).await;
    first.next([Behaviour::AcceptAndClose]);
    first.otherwise(not_now());
    let doubtful = house.send("perhaps", 1).await[0];
    house.until(doubtful, "queued").await;
    go_down(&house, &first).await;
    // Waiting for its own, or just being tried there.
    assert_ne!(house.recorded(doubtful).await.expect("a row").state, "unknown");
    first.otherwise(Behaviour::Accept);
    house.until_later(doubtful, "sent").await;
    assert_eq!((count(&first, &[doubtful]), count(&standby, &[doubtful])), (1, 0));
    house.stop().await;
}

#[tokio::test]
async fn one_message_alone_tries_whether_a_gateway_works_again() {
    let (house, first, standby) = started(&[]).await;
    let mut told = told(&house).await;
    go_down(&house, &first).await;
    assert!(!next(told.as_mut()).await.up);
    let before = first.requests();
    first.next([Behaviour::AcceptAndHang]);
    first.otherwise(Behaviour::Accept);
    house.clock.advance(PROBED);
    let probe = house.send("does it work again?", 1).await[0];
    eventually("it is asked", || async { first.requests() > before }).await;
    let others = house.send("hello", 40).await;
    for message in &others {
        house.until(*message, "sent").await;
    }
    assert_eq!((first.requests(), count(&standby, &others)), (before + 1, 40));
    // What the probe came to proves nothing good.
    first.cut_idle();
    house.until(probe, "unknown").await;
    let next = house.send("again", 1).await[0];
    house.until(next, "sent").await;
    assert_eq!((first.requests(), count(&standby, &[probe, next])), (before + 1, 1));
    house.stop().await;
}

#[tokio::test]
async fn messages_return_to_a_gateway_that_works_again() {
    let (house, first, standby) = started(&[]).await;
    let mut told = told(&house).await;
    go_down(&house, &first).await;
    first.otherwise(Behaviour::Accept);
    house.clock.advance(PROBED);
    let messages = house.send("one of these is the probe", 10).await;
    all_later(&house, &messages, "sent").await;
    assert!(!next(told.as_mut()).await.up);
    let changed = next(told.as_mut()).await;
    assert!(changed.up && changed.code.is_empty() && !changed.has_standby, "{changed:?}");
    let others = standby.total();
    let messages = house.send("hello", 40).await;
    all_later(&house, &messages, "sent").await;
    assert_eq!((count(&first, &messages), standby.total()), (40, others));
    house.stop().await;
}

#[tokio::test]
async fn without_a_standby_messages_wait_and_somebody_is_told() {
    let (house, first) = (Harness::start().await, sink("AC1", TOKEN, &[]).await);
    let mut told = told(&house).await;
    house.settings(twilio(first.url(), "AC1")).await;
    first.otherwise(not_now());
    let messages = house.send("hello", 20).await;
    let changed = next(told.as_mut()).await;
    assert!(!changed.up && !changed.has_standby, "{changed:?}");
    assert_eq!(first.total(), 0);
    first.otherwise(Behaviour::Accept);
    all_later(&house, &messages, "sent").await;
    house.clock.advance(PROBED);
    let next_ones = house.send("again", 1).await;
    all_later(&house, &next_ones, "sent").await;
    assert!(next(told.as_mut()).await.up);
    house.stop().await;
}

#[tokio::test]
async fn both_are_believed_what_they_report() {
    let (house, first, standby) = started(&["sent", "delivered"]).await;
    let messages = house.send("hello", 20).await;
    all_later(&house, &messages, "delivered").await;
    first.otherwise(not_now());
    let others = house.send("by the standby", 20).await;
    all_later(&house, &others, "delivered").await;
    assert_eq!((count(&first, &messages), count(&standby, &others)), (20, 20));
    assert_eq!((first.receipts().1, standby.receipts().1), (0, 0));
    house.stop().await;
}
