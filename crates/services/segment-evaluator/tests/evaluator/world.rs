//! A service to test: its database file, its broker, its clients.

use std::{path::PathBuf, sync::Arc, time::Duration};

use carillon_broker::{
    Broker as _, Consumer, Destination, Publication, memory::MemoryBroker, topology,
};
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
};
use carillon_sealing::WrappingKey;
use carillon_segment_evaluator::{Migrator, Parts, start};
use carillon_service_kit::{
    Clock, Database, Stop,
    rpc::{Transport, in_process},
};
use carillon_tenancy::{Tenancy, hash_key};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use prost_types::FieldMask;
use tempfile::TempDir;
use tonic::{Request, Status};

pub const KEY: &str = "test-key";
pub const WRAPPING: [u8; 32] = [7; 32];
pub const NOW: &str = "2026-11-23T12:00:00Z";

pub struct World {
    pub organisation: OrganisationId,
    pub database: Database,
    pub broker: MemoryBroker,
    pub clock: Clock,
    pub customers: CustomerServiceClient<Transport>,
    pub activities: ActivityServiceClient<Transport>,
    pub audience: AudienceServiceClient<Transport>,
    stop: StopAtEnd,
    directory: Arc<TempDir>,
    next_seq: i64,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Organisation::default()).await
    }

    pub async fn with(settings: Organisation) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let clock = Clock::manual(NOW.parse().expect("valid"));
        let organisation = OrganisationId::random();
        let mut world = Self::open(directory, organisation, clock, 1).await;
        world.settle(settings).await;
        world
    }

    async fn open(
        directory: Arc<TempDir>,
        organisation: OrganisationId,
        clock: Clock,
        next_seq: i64,
    ) -> Self {
        let path = directory.path().join("test.db");
        let database = Database::open_sqlite::<Migrator>(&path).await.expect("the migrations run");
        let (broker, stop) = (MemoryBroker::new(), Stop::new());
        let service = start(Parts {
            database: database.clone(),
            broker: Arc::new(broker.clone()),
            clock: clock.clone(),
            stop: stop.clone(),
            wrapping_key: WrappingKey::new(WRAPPING),
        });
        let public = in_process(service.public);
        Self {
            organisation,
            database,
            broker,
            clock,
            customers: CustomerServiceClient::new(public.clone()),
            activities: ActivityServiceClient::new(public),
            audience: AudienceServiceClient::new(in_process(service.internal)),
            stop: StopAtEnd(stop),
            directory,
            next_seq,
        }
    }

    /// Stops the service and starts it again on the same file, with a broker that forgot everything.
    pub async fn restart(self) -> Self {
        let Self { organisation, database, clock, stop, directory, next_seq, .. } = self;
        stop.0.now();
        assert!(stop.0.drained(Duration::from_secs(60)).await, "the tasks end");
        database.close().await.expect("closed");
        Self::open(directory, organisation, clock, next_seq).await
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
            keys: vec![KeyHash { hash: hash_key(key).to_vec().into() }],
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

    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
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

/// The next delivery's body within ten seconds, answered.
pub async fn next(consumer: &mut dyn Consumer) -> Option<bytes::Bytes> {
    let delivery = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await.ok()??;
    let body = delivery.body.clone();
    delivery.ack();
    Some(body)
}
