//! A producer and a consumer, each with as many replicas as a test asks for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use carillon_broker::{Broker, topology};
use carillon_contracts::{
    events::v1::{CampaignPublished, Event, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{AddDocuments, CreateOutbox, Handler, HandlerError, Outbox, Subscriber};
use carillon_service_kit::{Clock, Database, Stop, database::Sql as _};
use carillon_testkit::{TestBroker, TestDatabase};
use sea_orm::DatabaseTransaction;
use sea_orm_migration::{MigrationTrait, MigratorTrait};

pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOutbox), Box::new(AddDocuments)]
    }
}

pub const PATIENCE: Duration = Duration::from_millis(480);
pub const MARK_EVERY: Duration = Duration::from_millis(50);
/// No version: nothing is poisoned.
pub const NOTHING: u64 = u64::MAX;

/// Counts how often each event was handled; refuses the one told to, or panics at it.
#[derive(Clone)]
pub struct Seen {
    pub handled: Arc<Mutex<HashMap<u64, u32>>>,
    pub poison: Arc<AtomicU64>,
    pub panics: bool,
}

impl Default for Seen {
    fn default() -> Self {
        let poison = Arc::new(AtomicU64::new(NOTHING));
        Self { handled: Arc::default(), poison, panics: false }
    }
}

impl Seen {
    pub fn all_once(&self, count: u64) -> bool {
        let handled = self.handled.lock().unwrap();
        handled.len() as u64 == count && handled.values().all(|times| *times == 1)
    }

    pub fn count(&self) -> usize {
        self.handled.lock().unwrap().len()
    }
}

#[async_trait]
impl Handler for Seen {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::CampaignPublished(published)) = &event.body else {
            return Err(HandlerError::Event("unexpected".into()));
        };
        if self.poison.load(Ordering::SeqCst) == published.version {
            assert!(!self.panics, "poisoned");
            return Err(HandlerError::Event("poisoned".into()));
        }
        *self.handled.lock().unwrap().entry(published.version).or_default() += 1;
        Ok(())
    }
}

pub struct Pair {
    pub broker: TestBroker,
    pub producer: TestDatabase,
    pub consumer: TestDatabase,
    pub stop: Stop,
}

impl Pair {
    pub async fn new() -> Self {
        Self {
            broker: carillon_testkit::broker().await,
            producer: carillon_testkit::database::<Migrator>().await,
            consumer: carillon_testkit::database::<Migrator>().await,
            stop: Stop::new(),
        }
    }

    pub fn outbox(&self) -> Outbox {
        outbox_on(self.producer.database.clone(), Arc::clone(&self.broker.broker))
    }

    /// Another process of the producer.
    pub async fn another_outbox(&self) -> Outbox {
        outbox_on(self.producer.again::<Migrator>().await, self.broker.again().await)
    }

    pub fn listen(&self, seen: &Seen) -> Subscriber {
        let broker = Arc::clone(&self.broker.broker);
        listen_on(self.consumer.database.clone(), broker, seen, &self.stop)
    }

    /// The same, until it is stopped.
    pub fn listen_until(&self, seen: &Seen, stop: &Stop) {
        let broker = Arc::clone(&self.broker.broker);
        listen_on(self.consumer.database.clone(), broker, seen, stop);
    }

    /// Another process of the consumer.
    pub async fn listen_too(&self, seen: &Seen) -> Subscriber {
        let (database, broker) =
            (self.consumer.again::<Migrator>().await, self.broker.again().await);
        listen_on(database, broker, seen, &self.stop)
    }

    pub async fn append(&self, outbox: &Outbox, versions: std::ops::Range<u64>) {
        append_to(&self.producer.database, outbox, versions).await;
    }

    pub async fn sent(&self) -> i64 {
        let sql = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
        number(&self.producer.database, sql).await
    }

    pub async fn kept(&self) -> i64 {
        number(&self.producer.database, "SELECT COUNT(*) FROM outbox").await
    }

    pub async fn mark(&self) -> i64 {
        number(&self.consumer.database, "SELECT COALESCE(MAX(mark), 0) FROM marks").await
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.now();
    }
}

pub fn outbox_on(database: Database, broker: Arc<dyn Broker>) -> Outbox {
    Outbox::new(topology::CAMPAIGN_API, database, broker, Clock::system()).with_patience(PATIENCE)
}

fn listen_on(database: Database, broker: Arc<dyn Broker>, seen: &Seen, stop: &Stop) -> Subscriber {
    let subscriber = Subscriber::new(topology::SCHEDULER, database, broker, Clock::system())
        .with_mark_every(MARK_EVERY);
    subscriber.spawn(topology::CAMPAIGN_PUBLISHED, Arc::new(seen.clone()), stop);
    subscriber
}

pub async fn append_to(database: &Database, outbox: &Outbox, versions: std::ops::Range<u64>) {
    let tx = database.begin().await.unwrap();
    let organisation = OrganisationId::random();
    for version in versions {
        let published = CampaignPublished { version, ..CampaignPublished::default() };
        outbox.append(&tx, organisation, Body::CampaignPublished(published)).await.unwrap();
    }
    tx.commit().await.unwrap();
    outbox.wake();
}

pub async fn number(database: &Database, sql: &str) -> i64 {
    database.reader().row(sql, []).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}
