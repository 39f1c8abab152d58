//! An organisation with an SMSC, whose SMPP is npm's `smpp`.

use std::{collections::BTreeMap, fs};

use crate::harness::{Harness, TOKEN, address, patient};
use carillon_contracts::campaign::v1::{SmppGateway, SmsGateway, sms_gateway::Kind};
use carillon_service_kit::egress::Policy;
use carillon_sinks::{
    Authority,
    smpp::{Part, Smsc},
};
use carillon_sms_dispatcher::{Config, HttpConfig, SmppConfig};
use carillon_testkit::eventually;
use jiff::SignedDuration;
use serde_json::{Value, json};

mod receipts;
mod replies;

async fn smsc() -> Smsc {
    Smsc::start().await.expect("it listens")
}

fn settings(smsc: &Smsc) -> SmppGateway {
    let (url, system_id) = (smsc.url().to_owned(), "carillon".into());
    SmppGateway { url, system_id, ..SmppGateway::default() }
}

fn gateway(smpp: SmppGateway) -> Option<SmsGateway> {
    Some(SmsGateway { kind: Some(Kind::Smpp(smpp)), from: "+15005550006".into(), rate: 0 })
}

async fn started() -> (Harness, Smsc) {
    let (house, smsc) = (Harness::start().await, smsc().await);
    house.settings(gateway(settings(&smsc))).await;
    (house, smsc)
}

fn two_parts() -> String {
    "in two parts ".repeat(14)
}

/// How often each number was sent to.
fn times(parts: &[Part]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for part in parts {
        *times.entry(format!("+{}", part.to)).or_default() += 1;
    }
    times
}

fn once_each(recipients: u32) -> BTreeMap<String, usize> {
    (0..recipients).map(|n| (address(n), 1)).collect()
}

async fn told(smsc: &Smsc, event: &str) {
    eventually(event, || async { !smsc.events(event).is_empty() }).await;
}

#[tokio::test]
async fn a_message_leaves_as_the_standard_wants_it() {
    let (house, smsc) = started().await;
    let message = house.send("Hi & bye, 25 % off", 1).await[0];
    let recorded = house.until(message, "sent").await;
    let bind = &smsc.events("bind")[0];
    assert_eq!((&bind["system_id"], &bind["password"]), (&json!("carillon"), &json!(TOKEN)));
    assert_eq!((&bind["system_type"], &bind["interface_version"]), (&json!(""), &json!(0x34)));
    let part = &smsc.taken()[0];
    assert_eq!(recorded.provider_id, part.id);
    assert_eq!(format!("+{}", part.to), address(0));
    assert_eq!((part.from.as_str(), &part.fields["from_kind"]), ("15005550006", &json!([1, 1])));
    let expected = json!({
        "to_kind": [1, 1], "esm_class": 0, "data_coding": 0, "registered_delivery": 1,
        "validity_period": "000000010000000R",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&part.fields[name], value, "{name}");
    }
    house.stop().await;
    assert_eq!(smsc.events("unbind").len(), 1);
}

#[tokio::test]
async fn parts_are_tied_together_by_a_header() {
    let (house, smsc) = started().await;
    for text in [two_parts(), "я".repeat(71)] {
        let message = house.send(&text, 1).await[0];
        house.until(message, "sent").await;
        let parts = smsc.taken();
        let parts = &parts[parts.len() - 2..];
        let reference = &parts[0].octets[6..8];
        for (part, number) in parts.iter().zip(["01", "02"]) {
            assert_eq!(part.octets[..12], format!("050003{reference}02{number}"));
            assert_eq!(part.fields["esm_class"], 0x40);
            let coding = if text.is_ascii() { 0 } else { 8 };
            assert_eq!(part.fields["data_coding"], coding);
        }
        assert_eq!(format!("{}{}", parts[0].text, parts[1].text), text);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_throttled_part_is_tried_again_and_the_one_before_is_not() {
    let (house, smsc) = started().await;
    smsc.next([json!({}), json!({ "status": 0x58 }), json!({ "status": 0x14 })]).await;
    let message = house.send(&two_parts(), 1).await[0];
    house.until(message, "sent").await;
    assert_eq!((smsc.events("submit").len(), smsc.taken().len()), (4, 2));
    assert_eq!(smsc.taken()[1].octets[10..12], *"02");
    house.stop().await;
}

#[tokio::test]
async fn half_a_message_is_unknown_and_never_begun_again() {
    let (house, smsc) = started().await;
    smsc.next([json!({}), json!({ "status": 0x45 })]).await;
    let message = house.send(&two_parts(), 1).await[0];
    let recorded = house.until(message, "unknown").await;
    assert_eq!(recorded.provider_code, "part_2_of_2/0x00000045");
    house.clock.advance(SignedDuration::from_mins(10));
    let next = house.send("hello", 1).await[0];
    house.until_later(next, "sent").await;
    assert_eq!((smsc.events("submit").len(), smsc.taken().len()), (3, 2));
    house.stop().await;
}

#[tokio::test]
async fn refusals_have_their_reasons() {
    let (house, smsc) = started().await;
    let refusals = [
        (json!({ "status": 0x0B }), "number_invalid", "0x0000000b"),
        (json!({ "status": 0x01 }), "text_too_long", "0x00000001"),
        (json!({ "status": 0x0400 }), "refused", "0x00000400"),
        (json!({ "nack": 0x03 }), "refused", "0x00000003"),
    ];
    for (behaviour, reason, code) in refusals {
        smsc.next([behaviour]).await;
        let message = house.send("hello", 1).await[0];
        let recorded = house.until(message, "failed").await;
        assert_eq!((recorded.reason.as_str(), recorded.provider_code.as_str()), (reason, code));
    }
    // Settings can be mended: these wait.
    smsc.next([json!({ "status": 0x0A })]).await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "queued").await;
    assert_eq!(
        (recorded.reason.as_str(), recorded.provider_code.as_str()),
        ("retrying", "0x0000000a")
    );
    house.until_later(message, "sent").await;
    house.stop().await;
}

#[tokio::test]
async fn many_share_a_few_sessions_and_each_is_sent_once() {
    let (house, smsc) = (Harness::start().await, smsc().await);
    smsc.order(json!({ "otherwise": { "delay": 20 } })).await;
    let smpp = SmppGateway { connections: 3, window: 20, ..settings(&smsc) };
    house.settings(gateway(smpp)).await;
    let messages = house.send("hello", 400).await;
    for message in &messages {
        house.until_later(*message, "sent").await;
    }
    assert_eq!(times(&smsc.taken()), once_each(400));
    let sessions: Vec<u64> = smsc.taken().iter().map(|part| part.session).collect();
    assert!((1..=3).all(|session| sessions.contains(&session)), "all three are used");
    assert_eq!(smsc.events("bind").len(), 3);
    house.stop().await;
    assert_eq!(smsc.events("unbind").len(), 3);
}

#[tokio::test]
async fn an_unbind_in_mid_run_loses_and_repeats_nothing() {
    let (house, smsc) = started().await;
    smsc.order(json!({ "otherwise": { "delay": 100 } })).await;
    let messages = house.send("hello", 60).await;
    eventually("some are sent", || async { smsc.taken().len() >= 5 }).await;
    smsc.order(json!({ "unbind": true })).await;
    told(&smsc, "unbind_resp").await;
    // And once more, between a message's submit and its answer.
    smsc.next([json!({ "unbind": true })]).await;
    for message in &messages {
        house.until_later(*message, "sent").await;
    }
    assert_eq!(times(&smsc.taken()), once_each(60));
    assert_eq!((smsc.events("bind").len(), smsc.events("unbind_resp").len()), (3, 2));
    house.stop().await;
}

#[tokio::test]
async fn a_lost_connection_leaves_in_doubt_what_was_written_and_no_more() {
    let (house, smsc) = (Harness::start().await, smsc().await);
    house.settings(gateway(SmppGateway { window: 1, ..settings(&smsc) })).await;
    smsc.next([json!({ "silent": true })]).await;
    let messages = house.send("hello", 5).await;
    told(&smsc, "taken").await;
    let victim = smsc.taken()[0].to.clone();
    smsc.order(json!({ "cut": true })).await;
    for (n, message) in messages.iter().enumerate() {
        let lost = address(u32::try_from(n).expect("few")) == format!("+{victim}");
        let state = if lost { "unknown" } else { "sent" };
        let recorded = house.until_later(*message, state).await;
        assert_eq!(recorded.provider_code, if lost { "closed_without_answer" } else { "" });
    }
    assert_eq!(times(&smsc.taken()), once_each(5));
    house.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_it_unknown() {
    let http = HttpConfig { timeout_ms: Some(1_000), ..patient() };
    let (house, smsc) = (Harness::with(Config { http, ..Config::default() }).await, smsc().await);
    house.settings(gateway(settings(&smsc))).await;
    smsc.next([json!({ "silent": true })]).await;
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "unknown").await.provider_code, "answer_timeout");
    house.stop().await;
}

#[tokio::test]
async fn a_wrong_password_waits_for_a_right_one() {
    let (house, smsc) = (Harness::start().await, smsc().await);
    smsc.order(json!({ "login": { "system_id": "other", "password": TOKEN } })).await;
    house.settings(gateway(settings(&smsc))).await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "queued").await;
    assert_eq!(recorded.provider_code, "authentication_refused");
    assert_eq!(smsc.events("submit").len(), 0);
    let right = SmppGateway { system_id: "other".into(), ..settings(&smsc) };
    house.settings(gateway(right)).await;
    house.until_later(message, "sent").await;
    house.stop().await;
}

#[tokio::test]
async fn a_bind_that_is_refused_in_passing_is_tried_again() {
    let (house, smsc) = started().await;
    smsc.order(json!({ "refuse_binds": [0x05, 0x0D] })).await;
    let message = house.send("hello", 1).await[0];
    house.until_later(message, "sent").await;
    let statuses: Vec<Value> =
        smsc.events("bind").iter().map(|bind| bind["command_status"].clone()).collect();
    assert_eq!(statuses, [0x05, 0x0D, 0]);
    house.stop().await;
}

#[tokio::test]
async fn a_silent_smsc_is_asked_and_left_if_it_does_not_answer() {
    let http = HttpConfig { timeout_ms: Some(2_000), ..patient() };
    let smpp = SmppConfig { enquire_ms: 200 };
    let house = Harness::with(Config { http, smpp, ..Config::default() }).await;
    let smsc = smsc().await;
    house.settings(gateway(settings(&smsc))).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    eventually("asked", || async { smsc.events("enquire_link").len() >= 3 }).await;
    assert_eq!((smsc.events("bind").len(), smsc.events("closed").len()), (1, 0));
    smsc.order(json!({ "mute": true })).await;
    told(&smsc, "closed").await;
    smsc.order(json!({ "mute": false })).await;
    eventually("bound again", || async { smsc.events("bind").len() >= 2 }).await;
    house.stop().await;
}

#[tokio::test]
async fn an_smsc_that_asks_is_answered() {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    smsc.order(json!({ "enquire": true })).await;
    told(&smsc, "enquire_link_resp").await;
    house.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_ends_its_session_and_nothing_else() {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    // query_sm, which an SMSC does not ask, is answered as such.
    smsc.order(json!({ "raw": "00000010000000030000000000000009" })).await;
    told(&smsc, "generic_nack").await;
    assert_eq!(smsc.events("generic_nack")[0]["status"], 0x03);
    // No PDU is 4 GiB long.
    smsc.order(json!({ "raw": "ffffffff000000050000000000000009" })).await;
    told(&smsc, "closed").await;
    let message = house.send("hello", 1).await[0];
    house.until_later(message, "sent").await;
    assert_eq!(smsc.events("bind").len(), 2);
    house.stop().await;
}

#[tokio::test]
async fn other_settings_have_other_sessions_and_the_old_ones_are_unbound() {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let slower = SmsGateway { rate: 1_000, ..gateway(settings(&smsc)).expect("one") };
    house.settings(Some(slower)).await;
    let other = SmppGateway { system_type: "VMA".into(), ..settings(&smsc) };
    // Settings hold when they are read again.
    house.settings(gateway(other)).await;
    eventually("bound anew", || async {
        let message = house.send("hello", 1).await[0];
        house.until_later(message, "sent").await;
        smsc.events("bind").len() >= 2
    })
    .await;
    assert_eq!(smsc.events("bind")[1]["system_type"], "VMA");
    told(&smsc, "unbind").await;
    assert_eq!(smsc.events("unbind")[0]["session"], smsc.events("bind")[0]["session"]);
    house.stop().await;
}

#[tokio::test]
async fn a_private_address_is_not_connected_to() {
    let smsc = smsc().await;
    let config = Config { http: patient(), ..Config::default() };
    let house = Harness::within(config, Policy { allow_private: false }).await;
    house.settings(gateway(settings(&smsc))).await;
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "queued").await.provider_code, "address_refused");
    assert_eq!(smsc.events("bind").len(), 0);
    house.stop().await;
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_certificate_names() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let identity = authority.good("127.0.0.1");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let (certificate, key) = identity.pems();
    let (certificate, key) = (file("certificate.pem", certificate), file("key.pem", key));
    let smsc = Smsc::start_tls(&certificate, &key).await.expect("it listens");
    let tls_roots = Some(file("roots.pem", authority.pem()));
    let trusting = Config { http: patient(), tls_roots, ..Config::default() };
    let house = Harness::with(trusting).await;
    house.settings(gateway(settings(&smsc))).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    house.stop().await;
    let house = Harness::start().await;
    house.settings(gateway(settings(&smsc))).await;
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "queued").await.provider_code, "tls_failed");
    house.stop().await;
    assert_eq!(smsc.taken().len(), 1);
}
