//! What stands around the campaign API: its neighbours, and clients with keys.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use carillon_broker::{Broker as _, Consumer, memory::MemoryBroker, topology};
use carillon_campaign_api::{Migrator, Parts};
use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, CreateCampaignRequest, CreateOrganisationRequest, Organisation,
        Schedule, StartCampaignRequest, audience::Selection,
        audit_service_client::AuditServiceClient, campaign_service_client::CampaignServiceClient,
        content_service_client::ContentServiceClient, key_service_client::KeyServiceClient,
        organisation_service_client::OrganisationServiceClient, schedule::When,
        template_service_client::TemplateServiceClient,
    },
    events::v1::{CampaignHalted, Event, OrganisationChanged, event::Body},
    ids::OrganisationId,
    jobs::v1::{Content, SmsContent},
    ops::v1::operator_service_client::OperatorServiceClient,
    report::v1::report_service_client::ReportServiceClient,
};
use carillon_operator::Operator;
use carillon_outbox::{Handler, HandlerError, Outbox, Subscriber};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{
    Clock, Database, Stop,
    rpc::{Transport, in_process},
};
use carillon_tenancy::Tenancy;
use carillon_testkit::{TestDatabase, database};
use prost::Message as _;
use sea_orm::DatabaseTransaction;
use tonic::{Request, Response, Status, service::Routes};

use crate::{audience::Customers, smtp_tests::SmtpTests};

pub const PLATFORM: &str = "crl_platform_test";
pub const START: &str = "2026-11-30T23:30:00Z";
pub const PUBLIC_URL: &str = "https://carillon.example";

pub fn wrapping_key() -> WrappingKey {
    WrappingKey::new([7; 32])
}

pub struct World {
    pub clock: Clock,
    pub broker: Arc<MemoryBroker>,
    pub key: String,
    pub organisation: OrganisationId,
    pub customers: Customers,
    pub smtp_tests: SmtpTests,
    pub http: axum::Router,
    /// What the others were told of halted campaigns.
    pub halts: Halts,
    transport: Transport,
    /// Of the other services; a producer's and a consumer's tables are the same in every service.
    around: TestDatabase,
    own: TestDatabase,
    stop: Stop,
}

impl World {
    /// With an organisation in Amsterdam, and ten customers, C0 to C9.
    pub async fn new() -> Self {
        let mut world = Self::alone().await;
        world.everyone_listens();
        let (organisation, key) = world.create_organisation("Café Zoë").await;
        (world.organisation, world.key) = (organisation, key);
        world
    }

    /// No other service listens yet, and there is no organisation.
    pub async fn alone() -> Self {
        let clock = Clock::manual(START.parse().expect("a timestamp"));
        let broker = Arc::new(MemoryBroker::new());
        let own = database::<Migrator>().await;
        let stop = Stop::new();
        let around = database::<Migrator>().await;
        let customers = Customers::new((0..10).map(|n| format!("C{n}")));
        let smtp_tests = SmtpTests::default();
        let service = carillon_campaign_api::start(Parts {
            database: own.database.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            stop: stop.clone(),
            audience: customers.transport(),
            email_dispatcher: smtp_tests.transport(),
            operators: vec![
                ("billing", in_process(operator(&around, &broker, &clock).routes())),
                ("scheduler", in_process(Routes::default())),
            ],
            wrapping_key: wrapping_key(),
            public_url: PUBLIC_URL.into(),
            platform_key: PLATFORM.into(),
        });
        Self {
            clock,
            broker,
            key: String::new(),
            organisation: OrganisationId::random(),
            customers,
            smtp_tests,
            http: service.http,
            halts: Halts::default(),
            transport: in_process(service.public),
            around,
            own,
            stop,
        }
    }

    /// Another replica of the service, on the same database.
    pub async fn replica(&self) -> Transport {
        let service = carillon_campaign_api::start(Parts {
            database: self.own.again::<Migrator>().await,
            broker: self.broker.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            audience: self.customers.transport(),
            email_dispatcher: self.smtp_tests.transport(),
            operators: Vec::new(),
            wrapping_key: wrapping_key(),
            public_url: PUBLIC_URL.into(),
            platform_key: PLATFORM.into(),
        });
        in_process(service.public)
    }

    /// Every service that hears of organisations does. They share a database: the first one to
    /// hear writes it down, and each tells its mark.
    pub fn everyone_listens(&self) {
        let event = topology::ORGANISATION_CHANGED;
        for name in topology::subscribers(event, topology::CAMPAIGN_API) {
            let database = self.around.database.clone();
            let tenancy = Arc::new(Tenancy::new(database.clone()));
            Subscriber::new(name, database, self.broker.clone(), self.clock.clone())
                .spawn(event, tenancy, &self.stop);
        }
    }

    /// Every service that hears of halted campaigns does.
    pub fn everyone_obeys(&self) {
        let event = topology::CAMPAIGN_HALTED;
        for name in topology::subscribers(event, topology::CAMPAIGN_API) {
            let database = self.around.database.clone();
            Subscriber::new(name, database, self.broker.clone(), self.clock.clone()).spawn(
                event,
                Arc::new(self.halts.clone()),
                &self.stop,
            );
        }
    }

    pub async fn create_organisation(&self, name: &str) -> (OrganisationId, String) {
        let organisation = Organisation {
            name: name.into(),
            time_zone: "Europe/Amsterdam".into(),
            ..Organisation::default()
        };
        let request =
            CreateOrganisationRequest { organisation: Some(organisation), ..Default::default() };
        let created = self.organisations().create_organisation(with_key(request, PLATFORM)).await;
        let created = created.expect("created").into_inner();
        let id = created.organisation.expect("an organisation").id;
        (id.parse().expect("an id"), created.api_key)
    }

    pub fn organisations(&self) -> OrganisationServiceClient<Transport> {
        OrganisationServiceClient::new(self.transport.clone())
    }

    pub fn campaigns(&self) -> CampaignServiceClient<Transport> {
        CampaignServiceClient::new(self.transport.clone())
    }

    pub fn templates(&self) -> TemplateServiceClient<Transport> {
        TemplateServiceClient::new(self.transport.clone())
    }

    pub fn contents(&self) -> ContentServiceClient<Transport> {
        ContentServiceClient::new(self.transport.clone())
    }

    pub fn keys(&self) -> KeyServiceClient<Transport> {
        KeyServiceClient::new(self.transport.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Transport> {
        AuditServiceClient::new(self.transport.clone())
    }

    pub fn operators(&self) -> OperatorServiceClient<Transport> {
        OperatorServiceClient::new(self.transport.clone())
    }

    pub fn reports(&self) -> ReportServiceClient<Transport> {
        ReportServiceClient::new(self.transport.clone())
    }

    /// The request, from the organisation.
    pub fn ours<T>(&self, message: T) -> Request<T> {
        with_key(message, &self.key)
    }

    pub async fn try_create(&self, campaign: Campaign) -> Result<Campaign, Status> {
        let request = CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
        self.campaigns().create_campaign(self.ours(request)).await.map(Response::into_inner)
    }

    pub async fn create(&self, campaign: Campaign) -> Campaign {
        self.try_create(campaign).await.expect("created")
    }

    pub async fn try_start(&self, id: &str) -> Result<Campaign, Status> {
        let request = self.ours(StartCampaignRequest { id: id.into() });
        self.campaigns().start_campaign(request).await.map(Response::into_inner)
    }

    pub async fn started(&self) -> Campaign {
        let created = self.create(campaign("Monday")).await;
        self.try_start(&created.id).await.expect("started")
    }

    /// What a service hears of one event type of the campaign API.
    pub async fn queue(&self, subscriber: &str, event: &str) -> Box<dyn Consumer> {
        let queue =
            topology::event_queue(subscriber, &topology::stream(topology::CAMPAIGN_API, event));
        self.broker.consume(&queue, 200).await.expect("a queue")
    }

    /// The organisation as the other services know it.
    pub async fn known_to_others(&self, id: OrganisationId) -> Option<Organisation> {
        Tenancy::new(self.around.database.clone()).organisation(id).await.expect("read")
    }

    /// The document of an organisation, as other services know it.
    pub async fn document(&self, id: OrganisationId) -> OrganisationChanged {
        let tenancy = Tenancy::new(self.around.database.clone());
        tenancy.document(id).await.expect("read").expect("a document")
    }

    /// Whom another service takes a key for.
    pub async fn caller_elsewhere(&self, key: &str) -> Result<OrganisationId, Status> {
        let tenancy = Tenancy::new(self.around.database.clone());
        tenancy.caller(with_key((), key).metadata()).await.map(|caller| caller.organisation)
    }

    pub fn own(&self) -> &Database {
        &self.own.database
    }

    pub fn around(&self) -> &Database {
        &self.around.database
    }

    /// Another service that tells of what it did.
    pub fn neighbour(&self, name: &'static str) -> Neighbour {
        let outbox = Outbox::new(
            name,
            self.around.database.clone(),
            self.broker.clone(),
            self.clock.clone(),
        );
        outbox.spawn(&self.stop);
        Neighbour { outbox, organisation: self.organisation, around: self.around.database.clone() }
    }
}

/// Another service's own side of the operators' contract.
fn operator(around: &TestDatabase, broker: &Arc<MemoryBroker>, clock: &Clock) -> Operator {
    let database = around.database.clone();
    let subscriber =
        Subscriber::new(topology::BILLING, database.clone(), broker.clone(), clock.clone());
    Operator::new(topology::BILLING, database, subscriber)
}

/// Keeps what it was told of halted campaigns.
#[derive(Clone, Default)]
pub struct Halts(Arc<Mutex<Vec<CampaignHalted>>>);

impl Halts {
    pub fn told(&self) -> Vec<CampaignHalted> {
        self.0.lock().expect("not poisoned").clone()
    }
}

#[async_trait]
impl Handler for Halts {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::CampaignHalted(halted)) = &event.body else {
            return Err(HandlerError::Event("another event".into()));
        };
        self.0.lock().expect("not poisoned").push(halted.clone());
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now();
    }
}

pub struct Neighbour {
    outbox: Outbox,
    organisation: OrganisationId,
    around: carillon_service_kit::Database,
}

impl Neighbour {
    pub async fn tell(&self, body: Body) {
        let tx = self.around.begin().await.expect("a transaction");
        self.outbox.append(&tx, self.organisation, body).await.expect("stored");
        tx.commit().await.expect("committed");
        self.outbox.wake();
    }
}

pub async fn next(queue: &mut Box<dyn Consumer>) -> Event {
    let delivery = tokio::time::timeout(Duration::from_secs(60), queue.next());
    let delivery = delivery.await.expect("in time").expect("a delivery");
    let event = Event::decode(delivery.body.clone()).expect("an event");
    delivery.ack();
    event
}

pub fn campaign(name: &str) -> Campaign {
    Campaign {
        name: name.into(),
        active: true,
        audience: Some(Audience { selection: Some(Selection::Everyone(true)) }),
        schedule: Some(Schedule { when: Some(When::Now(true)) }),
        content: Some(Content {
            sms: Some(SmsContent { text: "Hi {UserName|friend}".into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Campaign::default()
    }
}

pub fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {key}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}
