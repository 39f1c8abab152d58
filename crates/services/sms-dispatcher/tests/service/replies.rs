//! Replies over HTTP, from the provider to the event that the segment evaluator hears.

use std::collections::BTreeMap;

use crate::harness::{Harness, TOKEN, key, organisation};
use carillon_broker::Consumer;
use carillon_contracts::{
    campaign::v1::{HttpGateway, SmsGateway, TwilioGateway, sms_gateway::Kind},
    events::v1::{
        Event,
        Keyword::{self, Start, Stop},
        ReplyReceived,
        event::Body,
    },
    time,
};
use carillon_sealing::{ReplyLinks, WrappingKey};
use carillon_sinks::sms::signature;
use carillon_tenancy::{REPLY_NUMBER, open_secret};
use jiff::SignedDuration;
use prost::Message as _;
use reqwest::{Client, RequestBuilder, Response};
use uuid::Uuid;

pub const ANN: &str = "+31612345678";
pub const BEA: &str = "+31687654321";
/// Whose reply comes last: no event has a higher number than that of it.
pub const LAST: &str = "+31600000000";

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("a client")
}

/// The address that the organisation gave its provider.
fn url(house: &Harness, kind: &str) -> String {
    ReplyLinks::new(&house.public_url, &key()).url(kind, organisation().uuid())
}

async fn twilio() -> Harness {
    let house = Harness::start().await;
    let twilio = TwilioGateway { base_url: "https://api.twilio.com".into(), account: "AC1".into() };
    let kind = Some(Kind::Twilio(twilio));
    house.settings(Some(SmsGateway { kind, from: "+15005550006".into(), rate: 0 })).await;
    house
}

async fn described() -> Harness {
    let house = Harness::start().await;
    let http = HttpGateway { url: "https://sms.example/".into(), ..HttpGateway::default() };
    let kind = Some(Kind::Http(http));
    house.settings(Some(SmsGateway { kind, from: "Cafe".into(), rate: 0 })).await;
    house
}

/// The fields of an incoming message as Twilio posts them.
fn incoming(from: &str, text: &str, sid: &str) -> Vec<(String, String)> {
    [
        ("ToCountry", "US"),
        ("NumMedia", "0"),
        ("MessageSid", sid),
        ("SmsSid", sid),
        ("AccountSid", "AC1"),
        ("From", from),
        ("To", "+15005550006"),
        ("Body", text),
        ("ApiVersion", "2010-04-01"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

async fn post(url: &str, form: &[(String, String)], signature: &str) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client().post(url).header("x-twilio-signature", signature).body(body);
    request.send().await.expect("an answer")
}

/// Signed as it must be.
async fn says(house: &Harness, from: &str, text: &str, sid: &str) {
    let (url, form) = (url(house, "twilio"), incoming(from, text, sid));
    let answer = post(&url, &form, &signature(TOKEN, &url, &form)).await;
    assert_eq!(answer.status(), 200, "{text}");
    assert_eq!(answer.headers()["content-type"], "text/xml");
    let body = answer.text().await.expect("a body");
    assert!(body.trim_end().ends_with("<Response/>"), "{body}");
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

fn number(reply: &ReplyReceived) -> String {
    let sealed = reply.number.as_ref().expect("a number");
    let number = open_secret(&key(), organisation(), REPLY_NUMBER, sealed).expect("it opens");
    String::from_utf8(number).expect("text")
}

/// Every reply that became an event before the last one's, in the order of their numbers: on the
/// wire one may overtake another.
async fn events(replies: &mut dyn Consumer) -> Vec<ReplyReceived> {
    let (mut known, mut last) = (BTreeMap::new(), None);
    while last.is_none_or(|last| known.len() < last) {
        let delivery = replies.next().await.expect("the broker lives");
        let event = Event::decode(delivery.body.clone()).expect("an event");
        assert_eq!(event.organisation_id, organisation().to_wire());
        let Some(Body::ReplyReceived(reply)) = event.body else { panic!("another event") };
        let number = number(&reply);
        let digits = &number.as_bytes()[number.len() - 7..];
        let found = delivery.body.windows(7).any(|part| part == digits);
        assert!(!found, "the number stands there in clear");
        let seq = delivery.headers.iter().find(|(name, _)| name == "carillon-seq");
        let seq = seq.expect("its number").1.parse::<usize>().expect("a number");
        delivery.ack();
        last = last.or((number == LAST).then_some(seq));
        known.insert(seq, reply);
    }
    known.pop_last();
    known.into_values().collect()
}

/// What was heard, up to the last one's reply.
pub async fn heard(replies: &mut dyn Consumer) -> Vec<(String, Keyword)> {
    let events = events(replies).await;
    events.iter().map(|reply| (number(reply), reply.keyword())).collect()
}

pub fn of(heard: &[(&str, Keyword)]) -> Vec<(String, Keyword)> {
    heard.iter().map(|(number, keyword)| ((*number).to_owned(), *keyword)).collect()
}

#[tokio::test]
async fn keywords_that_twilio_signed_become_events_with_the_number_sealed() {
    let house = twilio().await;
    let mut replies = house.replies().await;
    says(&house, ANN, " Stop.\n", "SM1").await;
    says(&house, BEA, "СТОП", "SM2").await;
    says(&house, ANN, "start", "SM3").await;
    says(&house, LAST, "STOP", "SM4").await;
    let events = events(replies.as_mut()).await;
    let heard: Vec<_> = events.iter().map(|reply| (number(reply), reply.keyword())).collect();
    assert_eq!(heard, of(&[(ANN, Stop), (BEA, Stop), (ANN, Start)]));
    let received = time::from_wire(events[0].receive_time.as_ref().expect("a time"));
    assert_eq!(received, Some(house.clock.now()));
    let sealed = events[0].number.as_ref().expect("a number");
    let open = |key: &WrappingKey, id| open_secret(key, id, REPLY_NUMBER, sealed);
    let other = carillon_contracts::ids::OrganisationId::new(Uuid::from_u128(6));
    assert!(open(&key(), other).is_err(), "it opens for its own organisation alone");
    assert!(open(&WrappingKey::new([4; 32]), organisation()).is_err());
    house.stop().await;
}

#[tokio::test]
async fn of_what_is_no_keyword_nothing_is_kept() {
    let house = twilio().await;
    let mut replies = house.replies().await;
    for (n, text) in ["please stop", "", "Is it open on Monday?", "STOP it"].iter().enumerate() {
        says(&house, ANN, text, &format!("SM{n}")).await;
    }
    says(&house, "anonymous caller, whose name is very long", "STOP", "SM8").await;
    says(&house, "", "STOP", "SM9").await;
    assert_eq!(house.known_replies().await, 0);
    says(&house, LAST, "STOP", "SM10").await;
    assert_eq!(heard(replies.as_mut()).await, []);
    assert_eq!(house.known_replies().await, 1);
    house.stop().await;
}

#[tokio::test]
async fn a_call_that_is_repeated_does_nothing_more() {
    let house = twilio().await;
    let mut replies = house.replies().await;
    says(&house, ANN, "STOP", "SM1").await;
    says(&house, ANN, "START", "SM2").await;
    says(&house, ANN, "STOP", "SM1").await;
    house.clock.advance(SignedDuration::from_hours(6 * 24));
    says(&house, ANN, "Stop", "SM1").await;
    says(&house, BEA, "STOP", "SM1").await;
    tokio::join!(
        says(&house, BEA, "START", "SM3"),
        says(&house, BEA, "START", "SM3"),
        says(&house, BEA, "START", "SM3"),
        says(&house, BEA, "START", "SM3"),
    );
    says(&house, LAST, "STOP", "SM4").await;
    let expected = of(&[(ANN, Stop), (ANN, Start), (BEA, Stop), (BEA, Start)]);
    assert_eq!(heard(replies.as_mut()).await, expected);
    house.stop().await;
}

#[tokio::test]
async fn a_forged_reply_is_refused() {
    let house = twilio().await;
    let mut replies = house.replies().await;
    let (right, form) = (url(&house, "twilio"), incoming(ANN, "STOP", "SM1"));
    let signed = |url: &str| signature(TOKEN, url, &form);
    assert_eq!(post(&right, &form, "").await.status(), 403);
    assert_eq!(post(&right, &form, &signature("wrong", &right, &form)).await.status(), 403);
    let changed = incoming(BEA, "STOP", "SM1");
    assert_eq!(post(&right, &changed, &signed(&right)).await.status(), 403);
    let other_kind = right.replace("/twilio/", "/http/");
    let foreign = right.replace(&organisation().to_string(), &Uuid::from_u128(6).to_string());
    let guessed = right.replace("token=", "token=0");
    let without = right.split('?').next().expect("a path").to_owned();
    let described = url(&house, "http").replace("/http/", "/twilio/");
    for url in [other_kind, foreign, guessed, without, described] {
        assert_eq!(post(&url, &form, &signed(&url)).await.status(), 403, "{url}");
    }
    let nobody = format!("{}/callbacks/sms/twilio/cafe/replies?token=x", house.public_url);
    assert_eq!(post(&nobody, &form, "").await.status(), 404);
    says(&house, LAST, "STOP", "SM9").await;
    assert_eq!(heard(replies.as_mut()).await, []);
    house.stop().await;
}

#[tokio::test]
async fn only_an_organisation_with_a_twilio_account_has_replies_that_it_signed() {
    let house = described().await;
    let (url, form) = (url(&house, "twilio"), incoming(ANN, "STOP", "SM1"));
    assert_eq!(post(&url, &form, &signature(TOKEN, &url, &form)).await.status(), 403);
    house.stop().await;
}

#[tokio::test]
async fn nonsense_is_refused_by_kind() {
    let house = twilio().await;
    let right = url(&house, "twilio");
    let large = incoming(ANN, &"STOP ".repeat(16 * 1024), "SM1");
    assert_eq!(post(&right, &large, &signature(TOKEN, &right, &large)).await.status(), 413);
    for missing in ["From", "Body"] {
        let mut form = incoming(ANN, "STOP", "SM1");
        form.retain(|(name, _)| name != missing);
        let answer = post(&right, &form, &signature(TOKEN, &right, &form)).await;
        assert_eq!(answer.status(), 400);
        let message = answer.text().await.expect("a message");
        assert!(message.starts_with(&format!("{missing}: missing; ")), "{message}");
    }
    assert_eq!(status(client().get(&right)).await, 405);
    let http = url(&house, "http");
    assert_eq!(status(client().get(&http)).await, 400);
    assert_eq!(status(client().get(format!("{http}&from=31612345678"))).await, 400);
    assert_eq!(status(client().post(&http).body("{\"from\":1")).await, 400);
    let large = format!("{{\"from\":\"1\",\"text\":\"{}\"}}", "x".repeat(70 * 1024));
    assert_eq!(status(client().post(&http).body(large)).await, 413);
    house.stop().await;
}

#[tokio::test]
async fn a_described_gateway_may_tell_in_a_query_a_form_or_json() {
    let house = described().await;
    let mut replies = house.replies().await;
    let url = url(&house, "http");
    let query = format!("{url}&from=%2B31612345678&to=Cafe&text=stop&id=1");
    assert_eq!(status(client().get(&query)).await, 204);
    assert_eq!(status(client().get(&query)).await, 204, "again");
    let form = "from=31687654321&to=Cafe&body=ARR%C3%8AT&id=2";
    let typed = client().post(&url).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(status(typed.body(form)).await, 204);
    let json = r#"{"from":31687654321,"to":"Cafe","text":"Start!","id":3}"#;
    let typed = client().post(&url).header("content-type", "application/json");
    assert_eq!(status(typed.body(json)).await, 204);
    // Without an id nobody knows that it is the same.
    for _ in 0..2 {
        assert_eq!(status(client().post(&url).body("from=1234567&text=STOP")).await, 204);
    }
    let none = r#"{"from":"1234567","text":"thanks","id":"5"}"#;
    assert_eq!(status(client().post(&url).body(none)).await, 204);
    let guessed = url.replace("token=", "token=0");
    assert_eq!(status(client().post(guessed).body(form)).await, 403);
    let last = format!("from=%2B{}&text=STOP", &LAST[1..]);
    assert_eq!(status(client().post(&url).body(last)).await, 204);
    let expected = of(&[
        (ANN, Stop),
        (&BEA[1..], Stop),
        (&BEA[1..], Start),
        ("1234567", Stop),
        ("1234567", Stop),
    ]);
    assert_eq!(heard(replies.as_mut()).await, expected);
    house.stop().await;
}
