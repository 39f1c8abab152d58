//! Replies by deliver_sm.

use carillon_contracts::events::v1::Keyword::{Start, Stop};

use super::{receipts::answers, *};
use crate::replies::{ANN, BEA, LAST, heard, of};

/// Bound: what an SMSC delivers has a session to come by.
async fn bound() -> (Harness, Smsc) {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    (house, smsc)
}

/// From an international number, in GSM 7 bit.
fn reply(from: &str, text: &str) -> Value {
    json!({ "deliver": {
        "source_addr_ton": 1, "source_addr_npi": 1, "source_addr": &from[1..],
        "destination_addr": "15005550006", "data_coding": 0,
        "short_message": text,
    } })
}

fn with(mut reply: Value, field: &str, value: Value) -> Value {
    reply["deliver"][field] = value;
    reply
}

#[tokio::test]
async fn keywords_become_events_in_whatever_alphabet() {
    let (house, smsc) = bound().await;
    let mut replies = house.replies().await;
    let orders = [
        reply(ANN, " Stop.\n"),
        with(reply(BEA, "СТОП"), "data_coding", json!(8)),
        with(reply(ANN, "start"), "data_coding", json!(3)),
        // None of these is a keyword, and of none is anything kept.
        reply(ANN, "please stop"),
        reply(BEA, ""),
        with(reply(BEA, "STOP"), "source_addr", json!("")),
        // An answer that got lost makes an SMSC deliver it again.
        with(reply(BEA, "START"), "receipted_message_id", json!("m1")),
        with(reply(BEA, "START"), "receipted_message_id", json!("m1")),
        reply(LAST, "STOP"),
    ];
    for (at, order) in orders.into_iter().enumerate() {
        smsc.order(order).await;
        assert_eq!(answers(&smsc, at + 1).await[at], 0);
    }
    let expected = of(&[(ANN, Stop), (BEA, Stop), (ANN, Start), (BEA, Start)]);
    assert_eq!(heard(replies.as_mut()).await, expected);
    house.stop().await;
}

#[tokio::test]
async fn a_reply_that_cannot_be_kept_is_to_come_again() {
    let (house, smsc) = bound().await;
    let mut replies = house.replies().await;
    house.change("ALTER TABLE outbox RENAME TO away").await;
    smsc.order(reply(ANN, "STOP")).await;
    assert_eq!(answers(&smsc, 1).await, [0x64]);
    house.change("ALTER TABLE away RENAME TO outbox").await;
    smsc.order(reply(ANN, "STOP")).await;
    smsc.order(reply(LAST, "STOP")).await;
    assert_eq!(answers(&smsc, 3).await, [0x64, 0, 0]);
    assert_eq!(heard(replies.as_mut()).await, of(&[(ANN, Stop)]));
    house.stop().await;
}
