//! The whole service on a database and a broker of the test's own, with a provider on the wire and
//! a purse that grants everything.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Mutex, time::Duration};

use carillon_broker::{Consumer, Destination, Publication, topology};
use carillon_contracts::{
    billing::v1::{
        HoldRequest, HoldResponse,
        hold_service_server::{HoldService, HoldServiceServer},
    },
    campaign::v1::{Organisation, SmsGateway},
    events::v1::{OrganisationChanged, SealedSecret},
    ids::{BatchId, CampaignId, CustomerId, MessageId, OrganisationId, RunId, pack_customers},
    jobs::v1::{self as jobs, Cause, Channel, Content, MessageClass, SealedBlock, SendJob},
    time,
};
use carillon_dispatch::Permits;
use carillon_sealing::WrappingKey;
use carillon_service_kit::{
    Clock, Stop,
    database::Sql as _,
    egress::{Egress, Policy},
    rpc,
};
use carillon_sms_dispatcher::{Config, HttpConfig, Migrator, Parts};
use carillon_tenancy::{SMS_STANDBY_TOKEN, SMS_TOKEN, Tenancy, seal_secret};
use carillon_testkit::{TestBroker, TestDatabase, eventually};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

pub const RUN_DAY: i32 = 20_270_115;
pub const TOKEN: &str = "a-token";
/// Of the standby.
pub const OTHER_TOKEN: &str = "another-token";

pub struct Harness {
    pub clock: Clock,
    /// Where the service's own HTTP answers.
    pub public_url: String,
    database: TestDatabase,
    broker: TestBroker,
    /// Where the sandbox keeps what it accepts.
    pub outbox: PathBuf,
    version: Mutex<u64>,
    /// A secret is sealed once, when it is set.
    sealed: Mutex<BTreeMap<(String, String), SealedSecret>>,
    runs: Mutex<u32>,
    stop: Stop,
}

/// What is recorded of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub state: String,
    pub reason: String,
    pub provider_id: String,
    pub provider_code: String,
    pub units: i64,
    pub provider_parts: Option<i64>,
}

pub fn organisation() -> OrganisationId {
    OrganisationId::new(Uuid::from_u128(5))
}

pub fn key() -> WrappingKey {
    WrappingKey::new([3; 32])
}

impl Harness {
    pub async fn start() -> Self {
        Self::with(Config { http: patient(), ..Config::default() }).await
    }

    pub async fn with(config: Config) -> Self {
        Self::within(config, Policy { allow_private: true }).await
    }

    pub async fn within(config: Config, egress: Policy) -> Self {
        let database = carillon_testkit::database::<Migrator>().await;
        let broker = carillon_testkit::broker().await;
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).expect("an instant"));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = listener.await.expect("a port");
        let public_url = format!("http://{}", listener.local_addr().expect("its address"));
        let outbox = database.directory.path().join("outbox");
        let stop = Stop::new();
        let service = carillon_sms_dispatcher::start(Parts {
            database: database.again::<Migrator>().await,
            broker: broker.again().await,
            clock: clock.clone(),
            stop: stop.clone(),
            key: key(),
            permits: Permits::default(),
            billing: rpc::in_process(Routes::new(HoldServiceServer::new(Generous))),
            egress: Egress::new(egress),
            public_url: format!("{public_url}/"),
            outbox: outbox.clone(),
            config,
        })
        .await
        .expect("it starts");
        let stopping = stop.clone();
        stop.spawn("HTTP server", async move {
            let stopped = async move { stopping.requested().await };
            axum::serve(listener, service.http).with_graceful_shutdown(stopped).await
        });
        let (version, sealed, runs) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { clock, public_url, database, broker, outbox, version, sealed, runs, stop }
    }

    pub async fn stop(&self) {
        self.stop.now();
        assert!(self.stop.drained(Duration::from_secs(60)).await, "it stops in time");
    }

    /// The organisation's newest gateway, as `organisation.changed` brings it.
    pub async fn settings(&self, sms: Option<SmsGateway>) {
        self.settings_of(sms, None, TOKEN).await;
    }

    /// The same with a standby, whose token is `OTHER_TOKEN`.
    pub async fn settings_of(
        &self,
        sms: Option<SmsGateway>,
        sms_standby: Option<SmsGateway>,
        token: &str,
    ) {
        self.store(Organisation { sms, sms_standby, ..Organisation::default() }, token).await;
    }

    /// All its newest settings.
    pub async fn set(&self, settings: Organisation) {
        self.store(settings, TOKEN).await;
    }

    async fn store(&self, settings: Organisation, token: &str) {
        let version = {
            let mut version = self.version.lock().expect("unpoisoned");
            *version += 1;
            *version
        };
        let secret = |name: &str, secret| (name.to_owned(), self.sealed(name, secret));
        let document = OrganisationChanged {
            version,
            organisation: Some(settings),
            secrets: [secret(SMS_TOKEN, token), secret(SMS_STANDBY_TOKEN, OTHER_TOKEN)].into(),
            ..OrganisationChanged::default()
        };
        let database = &self.database.database;
        let tx = database.begin().await.expect("a transaction");
        let tenancy = Tenancy::new(database.clone());
        tenancy.apply(&tx, organisation(), &document).await.expect("applied");
        tx.commit().await.expect("committed");
    }

    fn sealed(&self, name: &str, secret: &str) -> SealedSecret {
        let seal = || seal_secret(&key(), organisation(), name, secret.as_bytes()).expect("sealed");
        let mut sealed = self.sealed.lock().expect("unpoisoned");
        sealed.entry((name.to_owned(), secret.to_owned())).or_insert_with(seal).clone()
    }

    /// Sends a text to so many recipients, and answers with their messages.
    pub async fn send(&self, text: &str, recipients: u32) -> Vec<MessageId> {
        self.send_content(saying(text), recipients).await
    }

    pub async fn send_content(&self, content: Content, recipients: u32) -> Vec<MessageId> {
        let run = {
            let mut runs = self.runs.lock().expect("unpoisoned");
            *runs += 1;
            RunId::of(CampaignId::new(Uuid::from_u128(1)), &runs.to_string())
        };
        let job = self.job(run, content, recipients);
        let publication = Publication {
            to: Destination::Queue(topology::job_queue("sms", "bulk")),
            headers: Vec::new(),
            body: job.encode_to_vec().into(),
        };
        self.broker.broker.publish(publication).await.expect("published");
        (0..recipients).map(|n| MessageId::of(run, Channel::Sms, customer(n))).collect()
    }

    fn job(&self, run: RunId, content: Content, recipients: u32) -> SendJob {
        let batch = BatchId::of(run, Channel::Sms, 0);
        let plain = jobs::Recipients {
            variables: Vec::new(),
            recipients: (0..recipients)
                .map(|n| jobs::Recipient { address: address(n), ..Default::default() })
                .collect(),
        };
        let context = batch.uuid();
        let (data_key, wrapped) = key().new_data_key(context.as_bytes()).expect("a key");
        let packed = carillon_sealing::compress(&plain.encode_to_vec());
        let sealed = data_key.seal(&packed, context.as_bytes()).expect("sealed");
        SendJob {
            organisation_id: organisation().to_wire(),
            campaign_id: CampaignId::new(Uuid::from_u128(1)).to_wire(),
            run_id: run.to_wire(),
            run_day: RUN_DAY,
            batch_id: batch.to_wire(),
            channel: Channel::Sms.into(),
            message_class: MessageClass::Bulk.into(),
            deadline: Some(time::to_wire(self.clock.now() + SignedDuration::from_hours(1))),
            customer_ids: pack_customers((0..recipients).map(customer)),
            block: Some(SealedBlock {
                key_id: key().id().to_owned(),
                wrapped_key: wrapped.into(),
                ciphertext: sealed.into(),
            }),
            content: Some(content),
            cause: Cause::Unspecified.into(),
            traceparent: String::new(),
        }
    }

    /// What the segment evaluator hears of replies.
    pub async fn replies(&self) -> Box<dyn Consumer> {
        self.hear(topology::SEGMENT_EVALUATOR, topology::REPLY_RECEIVED).await
    }

    /// What somebody hears of this service's events.
    pub async fn hear(&self, subscriber: &str, event: &str) -> Box<dyn Consumer> {
        let stream = topology::stream(topology::SMS_DISPATCHER, event);
        let queue = topology::event_queue(subscriber, &stream);
        self.broker.broker.consume(&queue, 1_000).await.expect("the queue exists")
    }

    /// Fingerprints that are kept.
    pub async fn known_replies(&self) -> i64 {
        let row = self.database.database.reader().row("SELECT COUNT(*) FROM replies", []).await;
        row.expect("readable").expect("a row").try_get_by_index(0).expect("a number")
    }

    /// Changes the database from outside.
    pub async fn change(&self, sql: &str) {
        let tx = self.database.database.begin().await.expect("a transaction");
        tx.run(sql, []).await.expect("changed");
        tx.commit().await.expect("committed");
    }

    pub async fn recorded(&self, message: MessageId) -> Option<Recorded> {
        let sql = "SELECT state, reason, provider_id, provider_code, units,
            provider_parts FROM messages
            WHERE id = $1";
        let row = self.database.database.reader().row(sql, [message.uuid().into()]).await;
        let row = row.expect("readable")?;
        let text = |at| row.try_get_by_index::<String>(at).expect("a text");
        Some(Recorded {
            state: text(0),
            reason: text(1),
            provider_id: text(2),
            provider_code: text(3),
            units: row.try_get_by_index(4).expect("a number"),
            provider_parts: row.try_get_by_index(5).expect("a number or none"),
        })
    }

    /// Waits until the message is in one of the states that somebody can wait for.
    pub async fn until(&self, message: MessageId, state: &str) -> Recorded {
        let what = format!("{message} is {state}");
        eventually(&what, || async {
            self.recorded(message).await.is_some_and(|recorded| recorded.state == state)
        })
        .await;
        self.recorded(message).await.expect("it was there")
    }

    /// Moves the clock on until the condition holds: retries become due.
    pub async fn until_later(&self, message: MessageId, state: &str) -> Recorded {
        self.until_one_of(message, &[state]).await
    }

    /// The same for whichever of these states comes first.
    pub async fn until_one_of(&self, message: MessageId, states: &[&str]) -> Recorded {
        let what = format!("{message} is {states:?} later");
        eventually(&what, || async {
            self.clock.advance(SignedDuration::from_millis(500));
            let recorded = self.recorded(message).await;
            recorded.is_some_and(|recorded| states.contains(&recorded.state.as_str()))
        })
        .await;
        self.recorded(message).await.expect("it was there")
    }
}

pub fn saying(text: &str) -> Content {
    let sms = Some(jobs::SmsContent { text: text.into(), downgrade: false });
    Content { sms, ..Content::default() }
}

/// No test depends on how quick the machine is.
pub fn patient() -> HttpConfig {
    HttpConfig { connect_timeout_ms: 60_000, timeout_ms: Some(60_000), ..HttpConfig::default() }
}

pub fn address(n: u32) -> String {
    format!("+1555555{n:04}")
}

pub fn customer(n: u32) -> CustomerId {
    CustomerId::new(Uuid::from_u128(u128::from(n) + 1_000))
}

struct Generous;

#[tonic::async_trait]
impl HoldService for Generous {
    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<HoldResponse>, Status> {
        Ok(Response::new(HoldResponse { granted: request.into_inner().wanted }))
    }
}
