//! Receipts over HTTP, from the provider to the message's state.

use crate::harness::{Harness, RUN_DAY, TOKEN, key, organisation};
use carillon_contracts::{
    campaign::v1::{HttpGateway, SmsGateway, TwilioGateway, sms_gateway::Kind},
    ids::MessageId,
};
use carillon_sealing::CallbackMac;
use carillon_sinks::sms::{Options, SmsSink, signature, twilio_form};
use uuid::Uuid;

async fn sink(receipts: &[&str]) -> SmsSink {
    let login = Some(("AC1".to_owned(), TOKEN.to_owned()));
    let receipts = receipts.iter().map(|status| (*status).to_owned()).collect();
    SmsSink::start(Options { login, receipts, ..Options::default() }).await.expect("it listens")
}

fn gateway(sink: &SmsSink) -> Option<SmsGateway> {
    let twilio = TwilioGateway { base_url: sink.url(), account: "AC1".into() };
    Some(SmsGateway { kind: Some(Kind::Twilio(twilio)), from: "+15005550006".into(), rate: 0 })
}

fn twilio_url(house: &Harness, message: MessageId) -> String {
    let organisation = organisation();
    let token =
        CallbackMac::new(&key()).token("twilio", organisation.uuid(), RUN_DAY, message.uuid());
    let base = &house.public_url;
    format!("{base}/callbacks/sms/twilio/{organisation}/{RUN_DAY}/{message}?token={token}")
}

async fn post(url: &str, form: &[(String, String)], signature: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(url).header("x-twilio-signature", signature).body(body);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn receipts_raise_a_message_to_delivered() {
    let (house, sink) = (Harness::start().await, sink(&["queued", "sent", "delivered"]).await);
    house.settings(gateway(&sink)).await;
    let messages = house.send("hello", 50).await;
    for message in messages {
        house.until_later(message, "delivered").await;
    }
    assert_eq!(sink.receipts().1, 0);
    assert!(sink.taken().values().all(|times| *times == 1));
    house.stop().await;
}

#[tokio::test]
async fn a_message_that_could_not_be_delivered_says_why() {
    let (house, sink) = (Harness::start().await, sink(&["sent", "undelivered"]).await);
    house.settings(gateway(&sink)).await;
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "undelivered").await.provider_code, "30003");
    house.stop().await;
}

#[tokio::test]
async fn a_receipt_proves_what_was_in_doubt() {
    let (house, sink) = (Harness::start().await, sink(&["delivered"]).await);
    house.settings(gateway(&sink)).await;
    sink.next([carillon_sinks::sms::Behaviour::AcceptAndClose]);
    let message = house.send("hello", 1).await[0];
    house.until(message, "delivered").await;
    assert_eq!(sink.taken()[&message.to_string()], 1);
    house.stop().await;
}

#[tokio::test]
async fn duplicates_and_strangers_change_nothing() {
    let (house, sink) = (Harness::start().await, sink(&[]).await);
    house.settings(gateway(&sink)).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let url = twilio_url(&house, message);
    for status in ["delivered", "delivered", "sent", "delivered", "receiving"] {
        let form = twilio_form("SM1", status);
        assert_eq!(post(&url, &form, &signature(TOKEN, &url, &form)).await, 204, "{status}");
    }
    let stranger = twilio_url(&house, MessageId::new(Uuid::from_u128(9)));
    let form = twilio_form("SM1", "delivered");
    assert_eq!(post(&stranger, &form, &signature(TOKEN, &stranger, &form)).await, 204);
    house.until(message, "delivered").await;
    assert_eq!(house.recorded(MessageId::new(Uuid::from_u128(9))).await, None);
    house.stop().await;
}

#[tokio::test]
async fn a_forged_receipt_is_refused_and_not_kept() {
    let (house, sink) = (Harness::start().await, sink(&[]).await);
    house.settings(gateway(&sink)).await;
    let messages = house.send("hello", 2).await;
    let (victim, other) = (messages[0], messages[1]);
    house.until(victim, "sent").await;
    let (url, elsewhere) = (twilio_url(&house, victim), twilio_url(&house, other));
    let (good, changed) = (twilio_form("SM1", "sent"), twilio_form("SM1", "delivered"));
    let signed = signature(TOKEN, &url, &good);
    assert_eq!(post(&url, &changed, &signed).await, 403);
    assert_eq!(post(&url, &changed, &signature("wrong", &url, &changed)).await, 403);
    assert_eq!(post(&url, &changed, &signature(TOKEN, &elsewhere, &changed)).await, 403);
    assert_eq!(post(&url, &changed, "").await, 403);
    let unsigned = url.replace("/twilio/", "/http/") + "&status=undelivered";
    assert_eq!(post(&unsigned, &changed, "").await, 403);
    let guessed = url.replace("token=", "token=0");
    assert_eq!(post(&guessed, &changed, &signature(TOKEN, &guessed, &changed)).await, 403);
    let foreign = url.replace(&organisation().to_string(), &Uuid::from_u128(6).to_string());
    assert_eq!(post(&foreign, &changed, &signature(TOKEN, &foreign, &changed)).await, 403);
    // What is applied after all of these shows that none of them was.
    let delivered = twilio_form("SM1", "delivered");
    assert_eq!(post(&elsewhere, &delivered, &signature(TOKEN, &elsewhere, &delivered)).await, 204);
    house.until(other, "delivered").await;
    assert_eq!(house.recorded(victim).await.expect("a row").state, "sent");
    house.stop().await;
}

#[tokio::test]
async fn nonsense_is_refused_by_kind() {
    let (house, sink) = (Harness::start().await, sink(&[]).await);
    house.settings(gateway(&sink)).await;
    let url = twilio_url(&house, MessageId::new(Uuid::from_u128(1)));
    let large = vec![("MessageStatus".to_owned(), "x".repeat(70 * 1024))];
    assert_eq!(post(&url, &large, "").await, 413);
    let none = vec![("MessageSid".to_owned(), "SM1".to_owned())];
    assert_eq!(post(&url, &none, &signature(TOKEN, &url, &none)).await, 400);
    let nobody = format!("{}/callbacks/sms/twilio/a/b/c", house.public_url);
    assert_eq!(post(&nobody, &none, "").await, 404);
    house.stop().await;
}

#[tokio::test]
async fn a_described_gateway_reports_where_it_was_told_to() {
    let house = Harness::start().await;
    let receipts = vec!["sent".to_owned(), "delivered".to_owned()];
    let sink = SmsSink::start(Options { receipts, ..Options::default() }).await.expect("listens");
    let http = HttpGateway {
        url: format!("{}/send", sink.url()),
        body: r#"{"message_id":"{message_id}","callback_url":"{callback_url}"}"#.into(),
        ..HttpGateway::default()
    };
    let from = "Carillon".to_owned();
    house.settings(Some(SmsGateway { kind: Some(Kind::Http(http)), from, rate: 0 })).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "delivered").await;
    let request = &sink.requests_of(&message.to_string())[0];
    let url = request.callback_url().expect("a callback");
    let sent = [("status".to_owned(), "failed".to_owned())];
    let (other, token) = url.split_once('?').expect("a token");
    let stranger = other.replace(&message.to_string(), &Uuid::from_u128(9).to_string());
    assert_eq!(post(&format!("{stranger}?{token}"), &sent, "").await, 403);
    assert_eq!(post(other, &sent, "").await, 403);
    assert_eq!(post(&url, &[], "").await, 400);
    assert_eq!(post(&format!("{url}&status=sent"), &[], "").await, 204);
    house.stop().await;
}
