//! What was answered "stored, not yet in effect" is watched until it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_broker::topology;
use carillon_contracts::{
    events::v1::{CampaignHalted, Event, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{
    Change, EffectsWatch, Handler, HandlerError, Outbox, Subscriber, effects_pending,
};
use carillon_service_kit::Clock;
use carillon_testkit::eventually;
use sea_orm::DatabaseTransaction;

use crate::world::{MARK_EVERY, Pair};

struct Obeys;

#[async_trait]
impl Handler for Obeys {
    async fn handle(&self, _: &DatabaseTransaction, _: &Event) -> Result<(), HandlerError> {
        Ok(())
    }
}

const LISTENERS: &[&str] = &[
    topology::SCHEDULER,
    topology::SEGMENT_EVALUATOR,
    topology::SMS_DISPATCHER,
    topology::EMAIL_DISPATCHER,
];

fn stream() -> String {
    topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_HALTED)
}

/// On a clock of its own, so that time goes on when the test says so.
fn outbox(pair: &Pair) -> (Outbox, Clock) {
    let clock = Clock::manual("2026-11-30T12:00:00Z".parse().unwrap());
    let database = pair.producer.database.clone();
    let broker = Arc::clone(&pair.broker.broker);
    let outbox = Outbox::new(topology::CAMPAIGN_API, database, broker, clock.clone());
    outbox.spawn(&pair.stop);
    (outbox, clock)
}

async fn halt(pair: &Pair, outbox: &Outbox) -> i64 {
    let tx = pair.producer.database.begin().await.unwrap();
    let halted = Body::CampaignHalted(CampaignHalted::default());
    let row = outbox.append(&tx, OrganisationId::random(), halted).await.unwrap();
    tx.commit().await.unwrap();
    outbox.wake();
    row
}

/// They share a database: the first one to hear writes it down, and each tells its mark.
fn listen(pair: &Pair, name: &'static str) {
    let (database, broker) = (pair.consumer.database.clone(), Arc::clone(&pair.broker.broker));
    Subscriber::new(name, database, broker, Clock::system()).with_mark_every(MARK_EVERY).spawn(
        topology::CAMPAIGN_HALTED,
        Arc::new(Obeys),
        &pair.stop,
    );
}

async fn pending(pair: &Pair, clock: &Clock) -> i64 {
    let producer = &pair.producer.database;
    effects_pending(producer, topology::CAMPAIGN_API, clock.now_ms()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_late_is_told_of_once_and_again_when_it_is_in_effect() {
    let pair = Pair::new().await;
    let (outbox, clock) = outbox(&pair);
    let mut watch = EffectsWatch::new(&outbox);
    halt(&pair, &outbox).await;
    halt(&pair, &outbox).await;
    assert_eq!(watch.look().await.unwrap(), [], "its answer still waits");
    assert_eq!(pending(&pair, &clock).await, 0);

    clock.advance("PT3S".parse().unwrap());
    let late = Change::NotYet { stream: stream(), count: 2, behind: LISTENERS.to_vec() };
    assert_eq!(watch.look().await.unwrap(), [late]);
    assert_eq!(watch.look().await.unwrap(), [], "it was told of");
    assert_eq!(pending(&pair, &clock).await, 2);

    for name in &LISTENERS[..3] {
        listen(&pair, name);
    }
    let mut restarted = EffectsWatch::new(&outbox);
    eventually("three have passed it", || async {
        // A process that begins to watch now finds it, and who is missing.
        let changes = EffectsWatch::new(&outbox).look().await.unwrap();
        let behind = vec![topology::EMAIL_DISPATCHER];
        changes == [Change::NotYet { stream: stream(), count: 2, behind }]
    })
    .await;
    restarted.look().await.unwrap();
    assert_eq!(pending(&pair, &clock).await, 2, "one is missing");

    listen(&pair, LISTENERS[3]);
    eventually("all have passed it", || async { pending(&pair, &clock).await == 0 }).await;
    clock.advance("PT1S".parse().unwrap());
    let longest = Duration::from_secs(4);
    let told = [Change::InEffect { stream: stream(), count: 2, longest }];
    assert_eq!(watch.look().await.unwrap(), told);
    assert_eq!(restarted.look().await.unwrap(), told, "a restart forgets none");
    assert_eq!(watch.look().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_answered_in_effect_or_not_yet() {
    let pair = Pair::new().await;
    let (outbox, _) = outbox(&pair);
    assert_eq!(outbox.newest(topology::CAMPAIGN_HALTED).await.unwrap(), None);
    let (first, second) = (halt(&pair, &outbox).await, halt(&pair, &outbox).await);
    assert_eq!(outbox.newest(topology::CAMPAIGN_HALTED).await.unwrap(), Some(second));
    assert!(!outbox.in_effect([first, second]).await, "nobody listens");
    assert!(outbox.in_effect([]).await, "there is nothing to wait for");
    for name in LISTENERS {
        listen(&pair, name);
    }
    eventually("it is in effect", || async { outbox.in_effect([first, second]).await }).await;
}
