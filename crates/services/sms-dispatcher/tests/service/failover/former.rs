//! Gateways that others have taken the place of.

use carillon_contracts::{campaign::v1::SmppGateway, events::v1::Keyword::Stop};
use carillon_sealing::{CallbackMac, ReplyLinks};
use carillon_sinks::{
    smpp::Smsc,
    sms::{signature, twilio_form},
};
use serde_json::json;

use super::*;
use crate::{
    harness::{RUN_DAY, key, organisation},
    replies::{ANN, LAST, heard, of},
};

async fn post(url: &str, form: &[(String, String)], token: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(url).header("x-twilio-signature", signature(token, url, form));
    request.body(body).send().await.expect("an answer").status().as_u16()
}

/// Sends until the new settings are read.
async fn until_sent_by(house: &Harness, what: &str, arrived: impl Fn() -> bool) {
    eventually(what, || async {
        let message = house.send("by whom", 1).await[0];
        house.until_later(message, "sent").await;
        arrived()
    })
    .await;
}

#[tokio::test]
async fn a_former_account_of_twilios_is_still_believed_and_a_stranger_is_not() {
    let (house, former) = (Harness::start().await, sink("AC1", TOKEN, &[]).await);
    let mut replies = house.replies().await;
    house.settings(twilio(former.url(), "AC1")).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let described = SmsSink::start(Options::default()).await.expect("it listens");
    let url = format!("{}/send", described.url());
    let http = Kind::Http(HttpGateway { url, ..HttpGateway::default() });
    house.settings(Some(SmsGateway { kind: Some(http), from: "Cafe".into(), rate: 0 })).await;
    until_sent_by(&house, "another gateway", || described.total() > 0).await;

    let token =
        CallbackMac::new(&key()).token("twilio", organisation().uuid(), RUN_DAY, message.uuid());
    let url = format!(
        "{}/callbacks/sms/twilio/{}/{RUN_DAY}/{message}?token={token}",
        house.public_url,
        organisation()
    );
    let form = twilio_form("SM1", "delivered");
    assert_eq!(post(&url, &form, "a-stranger's").await, 403);
    assert_eq!(post(&url, &form, TOKEN).await, 204);
    house.until(message, "delivered").await;

    let url = ReplyLinks::new(&house.public_url, &key()).url("twilio", organisation().uuid());
    for from in [ANN, LAST] {
        let form = [("From", from), ("Body", "STOP"), ("MessageSid", from)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(post(&url, &form, "a-stranger's").await, 403);
        assert_eq!(post(&url, &form, TOKEN).await, 200);
    }
    assert_eq!(heard(replies.as_mut()).await, of(&[(ANN, Stop)]));
    house.stop().await;
}

#[tokio::test]
async fn a_former_smsc_is_still_bound_to_and_heard() {
    let (house, former) = (Harness::start().await, Smsc::start().await.expect("it listens"));
    let mut replies = house.replies().await;
    let gateway = |smsc: &Smsc| {
        let (url, system_id) = (smsc.url().to_owned(), "carillon".into());
        let smpp = SmppGateway { url, system_id, ..SmppGateway::default() };
        Some(SmsGateway { kind: Some(Kind::Smpp(smpp)), from: "+15005550006".into(), rate: 0 })
    };
    house.settings(gateway(&former)).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let newer = Smsc::start().await.expect("it listens");
    house.settings(gateway(&newer)).await;
    until_sent_by(&house, "another SMSC", || !newer.taken().is_empty()).await;

    let id = &former.taken()[0].id;
    let text = format!("id:{id} sub:001 dlvrd:001 stat:DELIVRD err:000 text:");
    former.order(json!({ "deliver": { "esm_class": 4, "short_message": text } })).await;
    house.until(message, "delivered").await;
    for from in [ANN, LAST] {
        let from = &from[1..];
        former
            .order(json!({ "deliver": {
            "source_addr_ton": 1, "source_addr_npi": 1, "source_addr": from,
            "destination_addr": "15005550006", "data_coding": 0, "short_message": "STOP",
        } }))
            .await;
    }
    assert_eq!(heard(replies.as_mut()).await, of(&[(ANN, Stop)]));
    assert_eq!(former.events("unbind").len(), 0);
    house.stop().await;
    assert_eq!((former.events("unbind").len(), newer.events("unbind").len()), (1, 1));
}
