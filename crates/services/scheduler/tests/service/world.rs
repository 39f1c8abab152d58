//! What stands around the scheduler: the service that publishes campaigns, and one that hears of
//! runs.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use carillon_broker::{Broker, topology};
use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, Organisation, Schedule, audience::Selection, schedule::When,
    },
    events::v1::{
        CampaignHalted, CampaignPublished, Event, Halt, KeyHash, OrganisationChanged, RunDue,
        RunMissed, event::Body,
    },
    ids::{CampaignId, OrganisationId},
    jobs::v1::{Content, SmsContent},
    schedule::v1::run_service_client::RunServiceClient,
    time,
};
use carillon_outbox::{Handler, HandlerError, Outbox, Subscriber};
use carillon_scheduler::{Migrator, Parts};
use carillon_service_kit::{
    Clock, Stop,
    database::Sql as _,
    rpc::{self, Transport},
};
use carillon_testkit::{TestBroker, TestDatabase, database};
use jiff::{SignedDuration, Timestamp};
use sea_orm::{DatabaseTransaction, Value};
use tonic::Request;

pub struct World {
    pub clock: Clock,
    pub organisation: OrganisationId,
    broker: Arc<dyn Broker>,
    _server: TestBroker,
    scheduler: TestDatabase,
    running: Option<(Stop, RunServiceClient<Transport>)>,
    /// The tables of a producer and of a consumer are the same in every service.
    publisher: TestDatabase,
    _listener: TestDatabase,
    outbox: Outbox,
    due: Arc<Mutex<Vec<RunDue>>>,
    missed: Arc<Mutex<Vec<RunMissed>>>,
    around: Stop,
}

struct Record(Arc<Mutex<Vec<RunDue>>>);

#[async_trait]
impl Handler for Record {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::RunDue(due)) = event.body.clone() else { panic!("not run.due") };
        self.0.lock().expect("unpoisoned").push(due);
        Ok(())
    }
}

struct RecordMissed(Arc<Mutex<Vec<RunMissed>>>);

#[async_trait]
impl Handler for RecordMissed {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::RunMissed(missed)) = event.body.clone() else { panic!("not run.missed") };
        self.0.lock().expect("unpoisoned").push(missed);
        Ok(())
    }
}

pub const START: &str = "2026-11-30T23:30:00Z";

impl World {
    pub async fn new() -> Self {
        let clock = Clock::manual(START.parse().expect("a timestamp"));
        let server = carillon_testkit::broker().await;
        let broker = Arc::clone(&server.broker);
        let publisher = database::<Migrator>().await;
        let listener = database::<Migrator>().await;
        let around = Stop::new();
        let outbox = Outbox::new(
            topology::CAMPAIGN_API,
            publisher.database.clone(),
            broker.clone(),
            clock.clone(),
        );
        outbox.spawn(&around);
        let due = Arc::default();
        Subscriber::new(
            topology::SEGMENT_EVALUATOR,
            listener.database.clone(),
            broker.clone(),
            clock.clone(),
        )
        .spawn(topology::RUN_DUE, Arc::new(Record(Arc::clone(&due))), &around);
        let missed = Arc::default();
        Subscriber::new(
            topology::CAMPAIGN_API,
            listener.database.clone(),
            broker.clone(),
            clock.clone(),
        )
        .spawn(topology::RUN_MISSED, Arc::new(RecordMissed(Arc::clone(&missed))), &around);
        let mut world = Self {
            clock,
            organisation: OrganisationId::random(),
            broker,
            _server: server,
            scheduler: database::<Migrator>().await,
            running: None,
            publisher,
            _listener: listener,
            outbox,
            due,
            missed,
            around,
        };
        world.start();
        world.introduce(world.organisation, "test-key").await;
        world
    }

    pub fn start(&mut self) {
        let stop = Stop::new();
        let service = carillon_scheduler::start(Parts {
            database: self.scheduler.database.clone(),
            broker: self.broker.clone(),
            clock: self.clock.clone(),
            stop: stop.clone(),
        });
        let client = RunServiceClient::new(rpc::in_process(service.public));
        self.running = Some((stop, client));
    }

    pub async fn stop(&mut self) {
        let (stop, _) = self.running.take().expect("it runs");
        stop.now();
        assert!(stop.drained(Duration::from_secs(60)).await, "the scheduler stops");
        self.scheduler.database = self.scheduler.again::<Migrator>().await;
    }

    pub fn client(&self) -> RunServiceClient<Transport> {
        self.running.as_ref().expect("it runs").1.clone()
    }

    async fn tell(&self, organisation: OrganisationId, body: Body) {
        let tx = self.publisher.database.begin().await.expect("a transaction");
        self.outbox.append(&tx, organisation, body).await.expect("stored");
        tx.commit().await.expect("committed");
        self.outbox.wake();
    }

    /// Another process of the scheduler, until the test ends.
    pub async fn replicate(&self) {
        let database = self.scheduler.again::<Migrator>().await;
        let (broker, clock, stop) =
            (Arc::clone(&self.broker), self.clock.clone(), self.around.clone());
        carillon_scheduler::start(Parts { database, broker, clock, stop });
    }

    /// An organisation in Amsterdam.
    pub async fn introduce(&self, id: OrganisationId, key: &str) {
        self.tell_organisation(id, key, "Europe/Amsterdam", 1).await;
    }

    pub async fn tell_organisation(&self, id: OrganisationId, key: &str, zone: &str, version: u64) {
        let organisation =
            Organisation { id: id.to_string(), time_zone: zone.into(), ..Organisation::default() };
        let hash = carillon_tenancy::hash_key(key).to_vec().into();
        let document = OrganisationChanged {
            organisation: Some(organisation),
            version,
            keys: vec![KeyHash { hash, ..KeyHash::default() }],
            ..OrganisationChanged::default()
        };
        self.tell(id, Body::OrganisationChanged(document)).await;
    }

    pub async fn publish(&self, published: CampaignPublished) {
        self.tell(self.organisation, Body::CampaignPublished(published)).await;
    }

    pub async fn halt(&self, campaign: CampaignId, halt: Halt, version: u64) {
        let halted = CampaignHalted { campaign_id: campaign.to_wire(), halt: halt.into(), version };
        self.tell(self.organisation, Body::CampaignHalted(halted)).await;
        // One that is newer than what was known is stored; `flush` would not wait for this stream.
        let sql = "SELECT COUNT(*) FROM schedules WHERE campaign_id = $1 AND halt_version >= $2";
        let version = version.cast_signed();
        carillon_testkit::eventually("the halt was heard of", || async {
            let reader = self.scheduler.database.reader();
            let row = reader.row(sql, [campaign.uuid().into(), version.into()]).await;
            let row = row.expect("read").expect("a row");
            row.try_get_by_index::<i64>(0).expect("a number") == 1
        })
        .await;
    }

    pub async fn publish_for(&self, organisation: OrganisationId, published: CampaignPublished) {
        self.tell(organisation, Body::CampaignPublished(published)).await;
    }

    /// The runs heard of so far.
    pub fn heard(&self) -> Vec<RunDue> {
        self.due.lock().expect("unpoisoned").clone()
    }

    /// The missed runs heard of so far.
    pub fn heard_missed(&self) -> Vec<RunMissed> {
        self.missed.lock().expect("unpoisoned").clone()
    }

    /// Changes the scheduler's own tables behind its back.
    pub async fn change(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> u64 {
        let tx = self.scheduler.database.begin().await.expect("a transaction");
        let changed = tx.run(sql, values).await.expect("changed").rows_affected();
        tx.commit().await.expect("committed");
        changed
    }

    pub async fn hears(&self, runs: usize) -> Vec<RunDue> {
        carillon_testkit::eventually("runs are due", || async { self.heard().len() >= runs }).await;
        self.heard()
    }

    /// Publishes one more campaign and waits for its run: whatever was published before it has
    /// been handled then.
    pub async fn flush(&self) {
        let campaign = CampaignId::random();
        self.publish(started(campaign, 1, self.clock.now())).await;
        let id = campaign.to_wire();
        carillon_testkit::eventually("the last campaign is due", || async {
            self.heard().iter().any(|due| due.campaign_id == id)
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.around.now();
        if let Some((stop, _)) = &self.running {
            stop.now();
        }
    }
}

/// A campaign that was started at `at`, with a pending period of 12 hours.
pub fn started(campaign: CampaignId, version: u64, at: Timestamp) -> CampaignPublished {
    let document = Campaign {
        id: campaign.to_string(),
        version,
        audience: Some(Audience { selection: Some(Selection::Everyone(true)) }),
        content: Some(Content {
            sms: Some(SmsContent { text: "Hi".into(), downgrade: false }),
            ..Content::default()
        }),
        pending_period: Some(time::duration_to_wire(SignedDuration::from_hours(12))),
        at_most_once_in: Some(time::duration_to_wire(SignedDuration::from_hours(48))),
        ..Campaign::default()
    };
    CampaignPublished {
        campaign_id: campaign.to_wire(),
        version,
        campaign: Some(document),
        start_time: Some(time::to_wire(at)),
    }
}

/// The same with the schedule `once` at a local time.
pub fn once(campaign: CampaignId, at: Timestamp, local: &str) -> CampaignPublished {
    let mut published = started(campaign, 1, at);
    let document = published.campaign.as_mut().expect("a document");
    document.schedule = Some(Schedule { when: Some(When::Once(local.into())) });
    published
}

pub fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {key}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}
