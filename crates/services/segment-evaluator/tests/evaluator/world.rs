//! A service to test: its database, its broker, its clients.

use std::{sync::Arc, time::Duration};

use carillon_broker::RESEND_AFTER;
use carillon_broker::{Broker, Consumer, Destination, Publication, topology};
use carillon_contracts::{
    audience::v1::{
        Activity, Customer, Identifier, ImportActivitiesRequest, ImportCustomersRequest,
        ImportResponse, activity_service_client::ActivityServiceClient,
        audience_service_client::AudienceServiceClient,
        customer_service_client::CustomerServiceClient, identifier::By,
    },
    campaign::v1::Organisation,
    events::v1::{Event, KeyHash, OrganisationChanged, event::Body},
    ids::OrganisationId,
    ops::v1::operator_service_client::OperatorServiceClient,
};
use carillon_sealing::WrappingKey;
use carillon_segment_evaluator::{Migrator, Parts, start_with_patience};
use carillon_service_kit::{
    Clock, Database, Stop,
    database::{Sql as _, Text},
    rpc::{Transport, in_process},
};
use carillon_tenancy::{Tenancy, hash_key};
use carillon_testkit::{TestBroker, TestDatabase, is_distributed};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use prost_types::FieldMask;
use tonic::{Request, Status};
use uuid::Uuid;

pub const KEY: &str = "test-key";
pub const WRAPPING: [u8; 32] = [7; 32];
pub const NOW: &str = "2026-11-23T12:00:00Z";
pub const PUBLIC_URL: &str = "https://carillon.example";
/// For what the broker brings, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);

pub struct World {
    pub organisation: OrganisationId,
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub customers: CustomerServiceClient<Transport>,
    pub activities: ActivityServiceClient<Transport>,
    pub audience: AudienceServiceClient<Transport>,
    pub operator: OperatorServiceClient<Transport>,
    stop: StopAtEnd,
    place: Arc<Place>,
    next_seq: i64,
}

/// Where the world is, whichever process is in it.
pub struct Place {
    pub database: TestDatabase,
    pub broker: TestBroker,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Organisation::default()).await
    }

    pub async fn with(settings: Organisation) -> Self {
        let clock = Clock::manual(NOW.parse().expect("valid"));
        Self::with_patience(settings, clock, RESEND_AFTER, |broker| broker).await
    }

    /// `through` stands between the service and its broker.
    pub async fn with_patience(
        settings: Organisation,
        clock: Clock,
        patience: Duration,
        through: impl FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker>,
    ) -> Self {
        let place = Place {
            database: carillon_testkit::database::<Migrator>().await,
            broker: carillon_testkit::broker().await,
        };
        let database = place.database.database.clone();
        let organisation = OrganisationId::random();
        let broker = through(Arc::clone(&place.broker.broker));
        let mut world =
            Self::open(Arc::new(place), (database, broker), organisation, clock, patience, 1);
        world.settle(settings).await;
        world
    }

    fn open(
        place: Arc<Place>,
        (database, broker): (Database, Arc<dyn Broker>),
        organisation: OrganisationId,
        clock: Clock,
        patience: Duration,
        next_seq: i64,
    ) -> Self {
        let stop = Stop::new();
        let parts = Parts {
            database: database.clone(),
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: stop.clone(),
            wrapping_key: WrappingKey::new(WRAPPING),
            public_url: PUBLIC_URL.into(),
        };
        let service = start_with_patience(parts, patience);
        let (public, internal) = (in_process(service.public), in_process(service.internal));
        Self {
            organisation,
            database,
            broker,
            clock,
            customers: CustomerServiceClient::new(public.clone()),
            activities: ActivityServiceClient::new(public),
            audience: AudienceServiceClient::new(internal.clone()),
            operator: OperatorServiceClient::new(internal),
            stop: StopAtEnd(stop),
            place,
            next_seq,
        }
    }

    /// Another process on the same database and broker.
    pub async fn replica(&self) -> Self {
        let database = self.place.database.again::<Migrator>().await;
        let broker = self.place.broker.again().await;
        let (place, clock) = (Arc::clone(&self.place), self.clock.clone());
        Self::open(place, (database, broker), self.organisation, clock, RESEND_AFTER, 0)
    }

    /// Stops the service and starts it again on the same database. A broker in memory is a new one,
    /// which forgot everything; RabbitMQ goes on.
    pub async fn restart(self) -> Self {
        let Self { organisation, database, broker, clock, stop, place, next_seq, .. } = self;
        stop.0.now();
        assert!(stop.0.drained(LONG).await, "the tasks end");
        database.close().await.expect("closed");
        let database = place.database.again::<Migrator>().await;
        let broker =
            if is_distributed() { broker } else { carillon_testkit::broker().await.broker };
        Self::open(place, (database, broker), organisation, clock, RESEND_AFTER, next_seq)
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The organisation's settings, known under `KEY`.
    pub async fn settle(&mut self, settings: Organisation) {
        self.settle_as(self.organisation, KEY, settings).await;
    }

    pub async fn settle_as(&mut self, id: OrganisationId, key: &str, settings: Organisation) {
        self.next_seq += 1;
        let organisation = Organisation {
            id: id.to_string(),
            name: "Café Carillon".into(),
            time_zone: "Europe/Amsterdam".into(),
            ..settings
        };
        let document = OrganisationChanged {
            organisation: Some(organisation),
            version: self.next_seq.cast_unsigned(),
            keys: vec![key_hash(key)],
            ..OrganisationChanged::default()
        };
        let tenancy = Tenancy::new(self.database.clone());
        let tx = self.database.begin().await.expect("begun");
        tenancy.apply(&tx, id, &document).await.expect("applied");
        tx.commit().await.expect("committed");
    }

    pub async fn import(&mut self, customers: Vec<Customer>, paths: &[&str]) -> ImportResponse {
        self.try_import(KEY, customers, paths).await.expect("imported")
    }

    pub async fn try_import(
        &mut self,
        key: &str,
        customers: Vec<Customer>,
        paths: &[&str],
    ) -> Result<ImportResponse, Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = ImportCustomersRequest { customers, update_mask: Some(FieldMask { paths }) };
        let request = signed(stream::iter([request]), key);
        let mut answers = self.customers.import_customers(request).await?.into_inner();
        answers.next().await.expect("an answer")
    }

    pub async fn import_activities(&mut self, activities: Vec<Activity>) -> ImportResponse {
        let request = signed(stream::iter([ImportActivitiesRequest { activities }]), KEY);
        let answers = self.activities.import_activities(request).await.expect("accepted");
        answers.into_inner().next().await.expect("an answer").expect("imported")
    }

    pub async fn get(&mut self, external_id: &str) -> Customer {
        self.find(By::ExternalId(external_id.into())).await.expect("found")
    }

    pub async fn find(&mut self, by: By) -> Result<Customer, Status> {
        let request =
            carillon_contracts::audience::v1::GetCustomerRequest { identifier: identified(by) };
        Ok(self.customers.get_customer(signed(request, KEY)).await?.into_inner())
    }

    /// Hands an event to the service, as the producer's relay would.
    pub async fn tell(&mut self, producer: &str, event: &str, body: Body) {
        self.next_seq += 1;
        self.tell_again(producer, event, body, self.next_seq).await;
    }

    pub async fn tell_again(&self, producer: &str, event: &str, body: Body, seq: i64) {
        let stream = topology::stream(producer, event);
        let queue = topology::event_queue(topology::SEGMENT_EVALUATOR, &stream);
        let header = |name: &str, value: String| (name.to_owned(), value);
        let event = Event {
            organisation_id: self.organisation.to_wire(),
            body: Some(body),
            ..Event::default()
        };
        let publication = Publication {
            to: Destination::Queue(queue),
            headers: vec![
                header("carillon-stream", stream),
                header("carillon-seq", seq.to_string()),
                header("carillon-floor", "1".into()),
            ],
            body: event.encode_to_vec().into(),
        };
        self.broker.publish(publication).await.expect("published");
    }

    pub async fn consume(&self, queue: &str) -> Box<dyn Consumer> {
        self.broker.consume(queue, 1_000).await.expect("the queue exists")
    }

    /// What campaign-api hears of the service's events of one type.
    pub async fn events(&self, event: &str) -> Box<dyn Consumer> {
        let stream = topology::stream(topology::SEGMENT_EVALUATOR, event);
        self.consume(&topology::event_queue(topology::CAMPAIGN_API, &stream)).await
    }
}

/// A key under the id 9, as campaign-api tells of it.
pub fn key_hash(key: &str) -> KeyHash {
    let id = Uuid::from_u128(9).as_bytes().to_vec().into();
    KeyHash { hash: hash_key(key).to_vec().into(), id, prefix: "crl_12345678".into(), test: false }
}

/// The service's tasks end with the test.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.now();
    }
}

pub fn signed<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {key}").parse().expect("valid");
    request.metadata_mut().insert("authorization", value);
    request
}

pub fn identified(by: By) -> Option<Identifier> {
    Some(Identifier { by: Some(by) })
}

pub fn customer(external_id: &str) -> Customer {
    Customer { external_id: external_id.into(), ..Customer::default() }
}

/// Somebody who gets everything.
pub fn reachable(number: usize) -> Customer {
    Customer {
        first_name: format!("First{number}"),
        phone: format!("+4420794{number:05}"),
        email: format!("c{number}@example.org"),
        subscribe_sms: Some(true),
        subscribe_email: Some(true),
        ..customer(&format!("C{number:05}"))
    }
}

pub fn reasons(response: &ImportResponse) -> Vec<(u32, &str)> {
    response.rejects.iter().map(|reject| (reject.index, reject.reason.as_str())).collect()
}

/// The next delivery's body, answered.
pub async fn next(consumer: &mut dyn Consumer) -> Option<bytes::Bytes> {
    let delivery = tokio::time::timeout(LONG, consumer.next()).await.ok()??;
    let body = delivery.body.clone();
    delivery.ack();
    Some(body)
}

/// A count, whatever the database's width.
pub async fn count(database: &Database, sql: &str) -> i64 {
    let sql = format!("SELECT CAST(({sql}) AS BIGINT)");
    let row = database.reader().row(&sql, []).await.expect("read").expect("a row");
    row.try_get_by_index::<Option<i64>>(0).expect("a number").unwrap_or(0)
}

pub async fn change<'a>(database: &Database, sql: impl Into<Text<'a>>) {
    let tx = database.begin().await.expect("begun");
    tx.run(sql, []).await.expect("changed");
    tx.commit().await.expect("committed");
}
