//! Events between two services: handled once, lost by no broker, parked when poisoned.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use carillon_broker::{Broker, Destination, Publication, memory::MemoryBroker, topology};
use carillon_contracts::{
    events::v1::{CampaignPublished, Event, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{CreateOutbox, Handler, HandlerError, Outbox, Subscriber};
use carillon_service_kit::{Clock, Database, Stop, database::Sql as _};
use carillon_testkit::{TestDatabase, eventually};
use sea_orm::DatabaseTransaction;
use sea_orm_migration::{MigrationTrait, MigratorTrait};

struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOutbox)]
    }
}

/// Counts how often each event was handled; refuses those told to.
#[derive(Clone, Default)]
struct Seen {
    handled: Arc<Mutex<HashMap<u64, u32>>>,
    poison: Option<u64>,
}

impl Seen {
    fn all_once(&self, count: u64) -> bool {
        let handled = self.handled.lock().unwrap();
        handled.len() as u64 == count && handled.values().all(|times| *times == 1)
    }
}

#[async_trait]
impl Handler for Seen {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::CampaignPublished(published)) = &event.body else {
            return Err(HandlerError::Event("unexpected".into()));
        };
        if self.poison == Some(published.version) {
            return Err(HandlerError::Event("poisoned".into()));
        }
        *self.handled.lock().unwrap().entry(published.version).or_default() += 1;
        Ok(())
    }
}

struct Pair {
    broker: MemoryBroker,
    producer: TestDatabase,
    consumer: TestDatabase,
    stop: Stop,
}

const PATIENCE: Duration = Duration::from_millis(240);

impl Pair {
    async fn new() -> Self {
        Self {
            broker: MemoryBroker::new(),
            producer: carillon_testkit::database::<Migrator>().await,
            consumer: carillon_testkit::database::<Migrator>().await,
            stop: Stop::new(),
        }
    }

    fn outbox(&self) -> Outbox {
        let broker: Arc<dyn Broker> = Arc::new(self.broker.clone());
        let name = topology::CAMPAIGN_API;
        Outbox::new(name, self.producer.database.clone(), broker, Clock::system())
            .with_patience(PATIENCE)
    }

    fn listen(&self, seen: &Seen) {
        let broker: Arc<dyn Broker> = Arc::new(self.broker.clone());
        let database = self.consumer.database.clone();
        Subscriber::new(topology::SCHEDULER, database, broker, Clock::system())
            .with_mark_every(Duration::from_millis(50))
            .spawn(topology::CAMPAIGN_PUBLISHED, Arc::new(seen.clone()), &self.stop);
    }

    async fn append(&self, outbox: &Outbox, versions: std::ops::Range<u64>) {
        let tx = self.producer.database.begin().await.unwrap();
        let organisation = OrganisationId::random();
        for version in versions {
            let published = CampaignPublished { version, ..CampaignPublished::default() };
            outbox.append(&tx, organisation, Body::CampaignPublished(published)).await.unwrap();
        }
        tx.commit().await.unwrap();
        outbox.wake();
    }
}

async fn number(database: &Database, sql: &str) -> i64 {
    database.reader().row(sql, []).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_handled_once_and_leave_when_they_were_passed() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..250).await;
    eventually("all handled", || async { seen.all_once(250) }).await;
    let kept = "SELECT COUNT(*) FROM outbox";
    eventually("the outbox empties", || async { number(&pair.producer.database, kept).await == 0 })
        .await;
    assert_eq!(number(&pair.consumer.database, "SELECT mark FROM marks").await, 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_alone_removes_nothing() {
    let pair = Pair::new().await;
    let outbox = pair.outbox();
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..3).await;
    let sent = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
    eventually("published", || async { number(&pair.producer.database, sent).await == 3 }).await;
    tokio::time::sleep(PATIENCE * 3).await;
    assert_eq!(number(&pair.producer.database, "SELECT COUNT(*) FROM outbox").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wiped_broker_lost_comes_back_by_the_marks() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..20).await;
    let sent = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
    eventually("published", || async { number(&pair.producer.database, sent).await == 20 }).await;
    pair.broker.wipe();
    pair.listen(&seen);
    eventually("all handled after the loss", || async { seen.all_once(20) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_in_the_middle_comes_back_though_later_ones_were_handled() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..5).await;
    let sent = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
    eventually("published", || async { number(&pair.producer.database, sent).await == 5 }).await;
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    let queue = topology::event_queue(topology::SCHEDULER, &stream);
    let mut thief = pair.broker.consume(&queue, 1).await.unwrap();
    thief.next().await.unwrap().ack();
    drop(thief);
    pair.listen(&seen);
    eventually("the lost one came again", || async { seen.all_once(5) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_producer_sends_again_and_nothing_is_handled_twice() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    let first = Stop::new();
    outbox.spawn(&first);
    pair.append(&outbox, 0..10).await;
    let sent = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
    eventually("published", || async { number(&pair.producer.database, sent).await == 10 }).await;
    first.now();
    assert!(first.drained(Duration::from_secs(60)).await);
    pair.outbox().spawn(&pair.stop);
    pair.listen(&seen);
    eventually("all handled", || async { seen.all_once(10) }).await;
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(seen.all_once(10), "repeats are not handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_parked_and_the_rest_flows() {
    let pair = Pair::new().await;
    let seen = Seen { poison: Some(3), ..Seen::default() };
    let outbox = pair.outbox();
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..8).await;
    // Those before it are tried twice: their first transaction failed with it.
    eventually("the others are handled", || async { seen.handled.lock().unwrap().len() == 7 })
        .await;
    let parked = "SELECT COUNT(*) FROM parked";
    eventually("parked", || async { number(&pair.consumer.database, parked).await == 1 }).await;
    let mark = "SELECT mark FROM marks";
    eventually("passed", || async { number(&pair.consumer.database, mark).await == 8 }).await;
    assert_eq!(number(&pair.consumer.database, "SELECT seq FROM parked").await, 4);
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
    pair.broker.publish(foreign).await.unwrap();
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
    assert!(outbox.passed(row, Duration::from_secs(60)).await.unwrap());
}
