//! Events between two services: handled once, lost by no broker, parked when poisoned.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod effects;
mod losing;
mod newcomers;
mod parking;
mod replicas;
mod world;

use std::time::Duration;

use carillon_broker::{Destination, Publication, topology};
use carillon_contracts::{
    events::v1::{BalanceRaised, CampaignPublished, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{Lag, figures};
use carillon_service_kit::Stop;
use carillon_testkit::eventually;

use crate::world::{PATIENCE, Pair, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_handled_once_and_leave_when_they_were_passed() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..250).await;
    eventually("all handled", || async { seen.all_once(250) }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    assert_eq!(pair.mark().await, 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_alone_removes_nothing() {
    let pair = Pair::new().await;
    let outbox = pair.outbox();
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..3).await;
    eventually("published", || async { pair.sent().await == 3 }).await;
    tokio::time::sleep(PATIENCE * 3).await;
    assert_eq!(pair.kept().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_producer_sends_again_and_nothing_is_handled_twice() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    let first = Stop::new();
    outbox.spawn(&first);
    pair.append(&outbox, 0..10).await;
    eventually("published", || async { pair.sent().await == 10 }).await;
    first.now();
    assert!(first.drained(Duration::from_secs(60)).await);
    pair.outbox().spawn(&pair.stop);
    pair.listen(&seen);
    eventually("all handled", || async { seen.all_once(10) }).await;
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(seen.all_once(10), "repeats are not handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_event_holds_nothing_up() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    let queue = topology::event_queue(topology::SCHEDULER, &stream);
    let foreign = Publication {
        to: Destination::Queue(queue),
        headers: Vec::new(),
        body: "not an event".into(),
    };
    pair.broker.broker.publish(foreign).await.unwrap();
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..2).await;
    eventually("the events are handled", || async { seen.all_once(2) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_when_every_subscriber_has_passed() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    let tx = pair.producer.database.begin().await.unwrap();
    let published = Body::CampaignPublished(CampaignPublished::default());
    let row = outbox.append(&tx, OrganisationId::random(), published).await.unwrap();
    tx.commit().await.unwrap();
    outbox.wake();
    assert!(!outbox.passed(row, Duration::from_millis(100)).await.unwrap());
    pair.listen(&seen);
    let other = pair.another_outbox().await;
    assert!(outbox.passed(row, Duration::from_secs(60)).await.unwrap());
    assert!(other.passed(row, Duration::from_secs(60)).await.unwrap(), "any replica can tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_is_bound_to_stays_and_holds_up_no_other() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    let tx = pair.producer.database.begin().await.unwrap();
    let unbound = Body::BalanceRaised(BalanceRaised::default());
    // More than a round of the relay.
    for _ in 0..700 {
        outbox.append(&tx, OrganisationId::random(), unbound.clone()).await.unwrap();
    }
    tx.commit().await.unwrap();
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..5).await;
    eventually("the bound stream flows", || async { seen.all_once(5) }).await;
    eventually("it was passed", || async { pair.kept().await == 700 }).await;
    let told = figures(&pair.producer.database).await.unwrap();
    assert_eq!((told.unsent, told.parked), (700, 0));
    assert!(told.oldest_unsent_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_say_how_far_each_subscriber_is_behind() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..3).await;
    eventually("published", || async { pair.sent().await == 3 }).await;
    let lag = |behind| {
        let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
        vec![Lag { stream, subscriber: topology::SCHEDULER, behind }]
    };
    let told = figures(&pair.producer.database).await.unwrap();
    assert_eq!((told.unsent, told.oldest_unsent_ms, told.lags), (0, None, lag(3)));
    pair.listen(&seen);
    eventually("it has caught up", || async {
        figures(&pair.producer.database).await.unwrap().lags == lag(0)
    })
    .await;
}
