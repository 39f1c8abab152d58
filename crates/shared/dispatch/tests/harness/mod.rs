//! Dispatchers on a real database and a broker, each with a runtime of its own, so that one can be
//! killed; and a gateway that counts calls.

#![allow(dead_code, reason = "each suite uses its part")]

pub mod proxy;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use carillon_broker::{Destination, Publication, topology};
use carillon_contracts::{
    events::v1::{DeliveryChanged, Event, Totals, event::Body},
    ids::{BatchId, CampaignId, CustomerId, MessageId, OrganisationId, RunId, pack_customers},
    jobs::v1::{self as jobs, Cause, Channel, Content, MessageClass, SealedBlock, SendJob},
    time,
};
use carillon_dispatch::{
    Account, Ask, EvidenceInbox, Funds, FundsUnavailable, Gateway, Outcome, Outgoing, Permits,
    Recipient, Throttle,
};
use carillon_numbering::Markets;
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop, database::Sql as _};
use carillon_testkit::{TestBroker, TestDatabase};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Calls by message, and what to answer.
#[derive(Clone, Default)]
pub struct Calls {
    pub made: Arc<Mutex<HashMap<MessageId, u32>>>,
    /// Outcomes for the first calls of an address; after them, sent.
    pub script: Arc<Mutex<HashMap<String, Vec<Outcome>>>>,
    /// Calls never come back.
    pub hang: bool,
    /// A call to this address panics.
    pub panics: Option<String>,
    /// Calls wait until this is opened.
    pub gate: Option<tokio::sync::watch::Receiver<bool>>,
    /// The provider takes a message once only.
    pub idempotent: bool,
    /// The name of the account; "harness" where it is empty.
    pub account: Arc<Mutex<String>>,
    /// Another that the organisation still has.
    pub former: Arc<Mutex<String>>,
    /// The account of each call, and whether it was made for what is in doubt there.
    pub by: Arc<Mutex<Vec<(MessageId, String, bool)>>>,
    pub throttle: Option<Throttle>,
    /// Units of each message; 0 stands for 1.
    pub units: u32,
    /// The organisation has switched everything off.
    pub paused: Arc<AtomicBool>,
    /// The organisation sends to nobody who did not give consent.
    pub require_consent: Arc<AtomicBool>,
    pub markets: Arc<Mutex<Markets>>,
    /// Calls wait until they may not go on any more, and are not begun then.
    pub heeds: bool,
    /// When each call was made, in order.
    pub times: Arc<Mutex<Vec<Instant>>>,
}

impl Calls {
    pub fn total(&self) -> u32 {
        self.made.lock().unwrap().values().sum()
    }

    pub fn of(&self, message: MessageId) -> u32 {
        self.made.lock().unwrap().get(&message).copied().unwrap_or_default()
    }

    pub fn answers(&self, address: &str, outcomes: Vec<Outcome>) {
        self.script.lock().unwrap().insert(address.to_owned(), outcomes);
    }
}

#[async_trait]
impl Gateway for Calls {
    type Prepared = ();

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    async fn account(&self, _: OrganisationId) -> Account {
        let name = self.account.lock().unwrap().clone();
        let name = if name.is_empty() { "harness" } else { &name };
        let (idempotent, throttle) = (self.idempotent, self.throttle);
        let paused = self.paused.load(Ordering::Relaxed);
        let require_consent = self.require_consent.load(Ordering::Relaxed);
        let markets = self.markets.lock().unwrap().clone();
        let account = Account { paused, require_consent, markets, ..Account::unlimited(name) };
        Account { idempotent, throttle, ..account }
    }

    async fn account_named(&self, organisation: OrganisationId, name: &str) -> Option<Account> {
        let account = self.account(organisation).await;
        if *self.former.lock().unwrap() == name {
            return Some(Account { name: name.to_owned(), ..account });
        }
        Some(account).filter(|account| account.name == name)
    }

    fn prepare(&self, content: &Content) -> Result<(), String> {
        let sms = content.sms.as_ref().ok_or("no text")?;
        assert_ne!(sms.text, PANIC, "the gateway's own fault");
        Ok(())
    }

    fn parts(&self, (): &(), _: Recipient<'_>) -> u32 {
        self.units.max(1)
    }

    async fn send(&self, (): &(), outgoing: Outgoing<'_>) -> Outcome {
        *self.made.lock().unwrap().entry(outgoing.message).or_default() += 1;
        self.times.lock().unwrap().push(Instant::now());
        let by = (outgoing.message, outgoing.account.to_owned(), outgoing.in_doubt);
        self.by.lock().unwrap().push(by);
        let address = outgoing.recipient.address();
        assert_ne!(self.panics.as_deref(), Some(address), "the gateway's own fault");
        if self.heeds {
            while outgoing.clearance.holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return Outcome::NotBegun;
        }
        if self.hang {
            std::future::pending::<()>().await;
        }
        if let Some(mut gate) = self.gate.clone() {
            gate.wait_for(|open| *open).await.unwrap();
        }
        let mut script = self.script.lock().unwrap();
        match script.get_mut(outgoing.recipient.address()) {
            Some(outcomes) if !outcomes.is_empty() => outcomes.remove(0),
            _ => Outcome::Sent { provider_id: "p".into(), parts: None },
        }
    }
}

/// Grants what it is told to, cumulatively.
#[derive(Clone, Default)]
pub struct Purse {
    pub granted: Arc<Mutex<Option<i64>>>,
    /// Each question when it came, and its batch once it was answered.
    pub asked: Arc<Mutex<Vec<Ask>>>,
    pub answered: Arc<Mutex<Vec<BatchId>>>,
    /// Questions that were asked while another was not answered yet.
    pub crossed: Arc<Mutex<u32>>,
}

#[async_trait]
impl Funds for Purse {
    async fn hold(&self, ask: Ask) -> Result<i64, FundsUnavailable> {
        let (batch, wanted) = (ask.batch, ask.wanted);
        let open = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(ask);
            asked.len() - 1 - self.answered.lock().unwrap().len()
        };
        *self.crossed.lock().unwrap() += u32::from(open > 0);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.answered.lock().unwrap().push(batch);
        let granted = *self.granted.lock().unwrap();
        granted.map(|granted| granted.min(wanted)).ok_or(FundsUnavailable("down".into()))
    }
}

pub struct Harness {
    pub broker: Arc<TestBroker>,
    pub clock: Clock,
    pub calls: Calls,
    pub purse: Option<Purse>,
    pub beat: Duration,
    database: Arc<TestDatabase>,
    workers: Mutex<Vec<Worker>>,
    /// Of the worker started last.
    pub evidence: Mutex<Option<EvidenceInbox>>,
}

/// A process.
struct Worker {
    stop: Stop,
    runtime: Runtime,
}

pub const NAME: &str = topology::SMS_DISPATCHER;
/// A text that makes its delivery panic.
pub const PANIC: &str = "panic";

impl Harness {
    pub async fn new() -> Self {
        Self {
            broker: Arc::new(carillon_testkit::broker().await),
            clock: Clock::manual(Timestamp::from_second(1_800_000_000).unwrap()),
            calls: Calls::default(),
            purse: None,
            beat: Duration::from_millis(400),
            database: Arc::new(carillon_testkit::database::<carillon_dispatch::Migrator>().await),
            workers: Mutex::default(),
            evidence: Mutex::default(),
        }
    }

    fn key() -> WrappingKey {
        WrappingKey::new([3; 32])
    }

    pub fn database(&self) -> &Database {
        &self.database.database
    }

    /// One statement.
    pub async fn run(&self, sql: &str) {
        let tx = self.database().begin().await.unwrap();
        tx.run(sql, []).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> i64 {
        let row = self.database().reader().row(sql, []).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// One word.
    pub async fn text(&self, sql: &str) -> String {
        let row = self.database().reader().row(sql, []).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Starts a dispatcher, beside those that run.
    pub async fn start(&self) {
        let database = Arc::clone(&self.database);
        self.start_on(async move { database.again::<carillon_dispatch::Migrator>().await }).await;
    }

    /// The same on a database reached in another way.
    pub async fn start_on(&self, database: impl Future<Output = Database> + Send + 'static) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let stop = Stop::new();
        let funds = self.purse.clone().map(|purse| Arc::new(purse) as Arc<dyn Funds>);
        let (broker, clock, stopping) =
            (Arc::clone(&self.broker), self.clock.clone(), stop.clone());
        let (gateway, beat) = (self.calls.clone(), self.beat);
        let starting = runtime.spawn(async move {
            let parts = carillon_dispatch::Parts {
                name: NAME,
                database: database.await,
                broker: broker.again().await,
                clock,
                stop: stopping,
                key: Self::key(),
                gateway,
                funds,
                permits: Permits::default(),
            };
            carillon_dispatch::start_beating(parts, beat).await.unwrap()
        });
        let offered = starting.await.unwrap();
        *self.evidence.lock().unwrap() = Some(offered.evidence);
        self.workers.lock().unwrap().push(Worker { stop, runtime });
    }

    /// Stops all that run, as a rolling restart would.
    pub async fn stop(&self) {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap());
        for Worker { stop, runtime } in workers {
            stop.now();
            assert!(stop.drained(Duration::from_secs(120)).await, "it stops in time");
            runtime.shutdown_background();
        }
    }

    /// Ends the oldest that runs wherever it stands, like `kill -9`.
    pub fn kill(&self) {
        let worker = self.workers.lock().unwrap().remove(0);
        worker.runtime.shutdown_background();
    }

    pub async fn publish(&self, job: &SendJob) {
        let publication = Publication {
            to: Destination::Queue(topology::job_queue("sms", "bulk")),
            headers: Vec::new(),
            body: job.encode_to_vec().into(),
        };
        self.broker.broker.publish(publication).await.unwrap();
    }

    pub fn job(&self, recipients: u32) -> SendJob {
        let recipient = |n| jobs::Recipient { address: address(n), ..Default::default() };
        self.job_of((0..recipients).map(recipient).collect())
    }

    pub fn job_of(&self, recipients: Vec<jobs::Recipient>) -> SendJob {
        let customers = 0..u32::try_from(recipients.len()).unwrap();
        let run = RunId::of(CampaignId::new(Uuid::from_u128(1)), "now");
        let batch = BatchId::of(run, Channel::Sms, 0);
        let plain = jobs::Recipients { variables: Vec::new(), recipients };
        let context = batch.uuid();
        let (data_key, wrapped) = Self::key().new_data_key(context.as_bytes()).unwrap();
        let packed = carillon_sealing::compress(&plain.encode_to_vec());
        let block = SealedBlock {
            key_id: Self::key().id().to_owned(),
            wrapped_key: wrapped.into(),
            ciphertext: data_key.seal(&packed, context.as_bytes()).unwrap().into(),
        };
        SendJob {
            organisation_id: OrganisationId::new(Uuid::from_u128(5)).to_wire(),
            campaign_id: CampaignId::new(Uuid::from_u128(1)).to_wire(),
            run_id: run.to_wire(),
            run_day: 20_270_115,
            batch_id: batch.to_wire(),
            channel: Channel::Sms.into(),
            message_class: MessageClass::Bulk.into(),
            deadline: Some(time::to_wire(self.clock.now() + SignedDuration::from_hours(1))),
            customer_ids: pack_customers(customers.map(customer)),
            block: Some(block),
            content: Some(Content {
                sms: Some(jobs::SmsContent { text: "hello".into(), downgrade: false }),
                ..Content::default()
            }),
            cause: Cause::Unspecified.into(),
            traceparent: String::new(),
        }
    }

    /// The same recipients in a batch of another run.
    pub fn of_another_run(&self, mut job: SendJob, run: RunId) -> SendJob {
        let (old, new) =
            (BatchId::from_wire(&job.batch_id).unwrap(), BatchId::of(run, Channel::Sms, 0));
        let sealed = job.block.take().unwrap();
        let key =
            Self::key().unwrap(&sealed.key_id, &sealed.wrapped_key, old.uuid().as_bytes()).unwrap();
        let packed = key.open(&sealed.ciphertext, old.uuid().as_bytes()).unwrap();
        let (key, wrapped) = Self::key().new_data_key(new.uuid().as_bytes()).unwrap();
        job.block = Some(SealedBlock {
            key_id: sealed.key_id,
            wrapped_key: wrapped.into(),
            ciphertext: key.seal(&packed, new.uuid().as_bytes()).unwrap().into(),
        });
        (job.run_id, job.batch_id) = (run.to_wire(), new.to_wire());
        job
    }

    /// The newest totals of the first batch that were told, and every change, in order. Nobody
    /// has passed the events, so they are all kept.
    pub async fn told(&self) -> (Totals, Vec<(u32, String, String)>) {
        self.told_of(BatchId::of(
            RunId::of(CampaignId::new(Uuid::from_u128(1)), "now"),
            Channel::Sms,
            0,
        ))
        .await
    }

    pub async fn told_of(&self, batch: BatchId) -> (Totals, Vec<(u32, String, String)>) {
        let sql = "SELECT body FROM outbox WHERE stream = $1 ORDER BY id";
        let stream = topology::stream(NAME, topology::DELIVERY_CHANGED);
        let rows = self.database().reader().rows(sql, [stream.into()]).await.unwrap();
        let (mut newest, mut changes) = (Totals::default(), Vec::new());
        for row in rows {
            let body: Vec<u8> = row.try_get_by_index(0).unwrap();
            let Some(Body::DeliveryChanged(told)) = Event::decode(body.as_slice()).unwrap().body
            else {
                panic!("not a delivery")
            };
            let DeliveryChanged { batch_id, totals: Some(totals), changes: new, .. } = told else {
                panic!("no totals")
            };
            if batch_id != batch.to_wire() {
                continue;
            }
            if totals.version > newest.version {
                newest = totals;
            }
            changes.extend(new.into_iter().map(|one| (one.position, one.state, one.reason)));
        }
        (newest, changes)
    }

    /// The traces that what was told of the batch belongs to, and how often each.
    pub async fn traces_of(&self, batch: BatchId) -> BTreeMap<String, usize> {
        let rows = self.database().reader().rows("SELECT body FROM outbox", []).await.unwrap();
        let mut traces = BTreeMap::new();
        for row in rows {
            let body: Vec<u8> = row.try_get_by_index(0).unwrap();
            let Event { traceparent, body, .. } = Event::decode(body.as_slice()).unwrap();
            if matches!(body, Some(Body::DeliveryChanged(told)) if told.batch_id == batch.to_wire())
            {
                *traces.entry(traceparent).or_default() += 1;
            }
        }
        traces
    }

    /// Waits until the newest totals satisfy the condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&Totals) -> bool) -> Totals {
        for _ in 0..6_000 {
            let (totals, _) = self.told().await;
            if condition(&totals) {
                return totals;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never became true: {what}; last {:?}", self.told().await.0);
    }

    pub async fn job_depth(&self) -> usize {
        self.broker.broker.depth("jobs.sms.bulk").await.unwrap().ready
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        for worker in std::mem::take(&mut *self.workers.lock().unwrap()) {
            worker.runtime.shutdown_background();
        }
    }
}

pub fn address(n: u32) -> String {
    format!("+1555555{n:04}")
}

pub fn customer(n: u32) -> CustomerId {
    CustomerId::new(Uuid::from_u128(u128::from(n) + 1_000))
}

pub fn message(job: &SendJob, n: u32) -> MessageId {
    MessageId::of(RunId::from_wire(&job.run_id).unwrap(), Channel::Sms, customer(n))
}
