//! Receipts by deliver_sm.

use super::*;

async fn with_receipts(receipts: Value) -> (Harness, Smsc) {
    let (house, smsc) = started().await;
    smsc.order(json!({ "receipts": receipts })).await;
    (house, smsc)
}

fn receipt(id: &str, stat: &str) -> Value {
    let text = format!("id:{id} sub:001 dlvrd:001 stat:{stat} err:034 text:");
    json!({ "deliver": { "esm_class": 4, "short_message": text } })
}

/// The statuses that what was delivered was answered with.
pub(super) async fn answers(smsc: &Smsc, count: usize) -> Vec<Value> {
    let answers = || smsc.events("deliver_sm_resp");
    eventually("answered", || async { answers().len() >= count }).await;
    answers().into_iter().map(|answer| answer["status"].clone()).collect()
}

#[tokio::test]
async fn a_receipt_may_come_before_the_answer() {
    let (house, smsc) = with_receipts(json!({ "stat": "DELIVRD", "early": true })).await;
    for text in ["hello", &two_parts()] {
        for message in house.send(text, 20).await {
            house.until_later(message, "delivered").await;
        }
    }
    assert!(answers(&smsc, 60).await.iter().all(|status| *status == 0));
    house.stop().await;
}

#[tokio::test]
async fn a_receipt_may_name_it_in_another_base_or_by_parameters() {
    for receipts in [
        json!({ "stat": "DELIVRD", "parameters": true }),
        json!({ "stat": "DELIVRD", "decimal": true }),
    ] {
        let (house, _smsc) = with_receipts(receipts).await;
        let message = house.send(&two_parts(), 1).await[0];
        house.until_later(message, "delivered").await;
        house.stop().await;
    }
}

#[tokio::test]
async fn a_message_is_delivered_when_all_of_its_parts_are() {
    let (house, smsc) = with_receipts(json!({ "stat": "DELIVRD", "part": 1 })).await;
    let message = house.send(&two_parts(), 1).await[0];
    house.until(message, "sent").await;
    answers(&smsc, 1).await;
    let other = house.send("one part", 1).await[0];
    house.until(other, "delivered").await;
    assert_eq!(house.recorded(message).await.expect("a row").state, "sent");
    smsc.order(receipt(&smsc.taken()[1].id, "DELIVRD")).await;
    house.until(message, "delivered").await;
    house.stop().await;
}

#[tokio::test]
async fn a_part_that_was_not_delivered_says_why() {
    let (house, smsc) = with_receipts(json!({ "stat": "DELIVRD", "part": 2 })).await;
    let message = house.send(&two_parts(), 1).await[0];
    house.until(message, "sent").await;
    answers(&smsc, 1).await;
    smsc.order(receipt(&smsc.taken()[0].id, "UNDELIV")).await;
    assert_eq!(house.until(message, "undelivered").await.provider_code, "034");
    house.stop().await;
}

#[tokio::test]
async fn a_receipt_proves_half_a_message_undelivered() {
    let (house, smsc) = started().await;
    smsc.next([json!({}), json!({ "close": true })]).await;
    let message = house.send(&two_parts(), 1).await[0];
    house.until(message, "unknown").await;
    eventually("bound again", || async { smsc.events("bind").len() >= 2 }).await;
    let taken = smsc.taken();
    smsc.order(receipt(&taken[0].id, "DELIVRD")).await;
    answers(&smsc, 1).await;
    assert_eq!(house.recorded(message).await.expect("a row").state, "unknown");
    smsc.order(receipt(&taken[0].id, "EXPIRED")).await;
    answers(&smsc, 2).await;
    let last = house.send("hello", 1).await[0];
    house.until(last, "sent").await;
    smsc.order(receipt(&smsc.taken()[2].id, "DELIVRD")).await;
    house.until(last, "delivered").await;
    // What was delivered once stays so.
    assert_eq!(house.recorded(message).await.expect("a row").state, "unknown");
    house.stop().await;
}

#[tokio::test]
async fn strangers_and_repeats_change_nothing() {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let id = smsc.taken()[0].id.clone();
    let half_way =
        json!({ "deliver": { "esm_class": 0x20, "short_message": "id:1 stat:ENROUTE" } });
    let nonsense = json!({ "deliver": { "esm_class": 4, "short_message": "no receipt at all" } });
    let orders = [
        receipt("ffff", "DELIVRD"),
        receipt(&id, "ENROUTE"),
        half_way,
        nonsense,
        receipt(&id, "DELIVRD"),
        receipt(&id, "UNDELIV"),
        receipt(&id, "DELIVRD"),
    ];
    for (at, order) in orders.into_iter().enumerate() {
        smsc.order(order).await;
        assert_eq!(answers(&smsc, at + 1).await[at], 0);
    }
    house.until(message, "delivered").await;
    // Cut off in the middle of an address: refused, and not asked for again.
    let torn = "0000001800000005000000000000000700010135353535";
    smsc.order(json!({ "raw": format!("{torn}35") })).await;
    assert_eq!(answers(&smsc, 7).await.len(), 7);
    let next = house.send("hello", 1).await[0];
    house.until(next, "sent").await;
    assert_eq!(smsc.events("bind").len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_receipt_that_cannot_be_kept_is_to_come_again() {
    let (house, smsc) = started().await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let receipt = receipt(&smsc.taken()[0].id, "DELIVRD");
    house.change("ALTER TABLE smsc_receipts RENAME TO away").await;
    smsc.order(receipt.clone()).await;
    assert_eq!(answers(&smsc, 1).await, [0x64]);
    house.change("ALTER TABLE away RENAME TO smsc_receipts").await;
    smsc.order(receipt).await;
    assert_eq!(answers(&smsc, 2).await, [0x64, 0]);
    house.until(message, "delivered").await;
    house.stop().await;
}
