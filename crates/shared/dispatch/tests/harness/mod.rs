//! A dispatcher on a real SQLite file and the in-memory broker, with a gateway that counts calls.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use carillon_broker::{Broker, Destination, Publication, memory::MemoryBroker, topology};
use carillon_contracts::{
    events::v1::{DeliveryChanged, Event, Totals, event::Body},
    ids::{BatchId, CampaignId, CustomerId, MessageId, OrganisationId, RunId, pack_customers},
    jobs::v1::{self as jobs, Cause, Channel, Content, MessageClass, SealedBlock, SendJob},
    time,
};
use carillon_dispatch::{
    Account, Funds, FundsUnavailable, Gateway, Outcome, Outgoing, Permits, Recipient,
};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tempfile::TempDir;
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
        Account::unlimited("harness")
    }

    fn prepare(&self, content: &Content) -> Result<(), String> {
        content.sms.as_ref().map(|_| ()).ok_or("no text".into())
    }

    fn units(&self, (): &(), _: Recipient<'_>) -> u32 {
        1
    }

    async fn send(&self, (): &(), outgoing: Outgoing<'_>) -> Outcome {
        *self.made.lock().unwrap().entry(outgoing.message).or_default() += 1;
        let address = outgoing.recipient.address();
        assert_ne!(self.panics.as_deref(), Some(address), "the gateway's own fault");
        if self.hang {
            std::future::pending::<()>().await;
        }
        let mut script = self.script.lock().unwrap();
        match script.get_mut(outgoing.recipient.address()) {
            Some(outcomes) if !outcomes.is_empty() => outcomes.remove(0),
            _ => Outcome::Sent { provider_id: "p".into() },
        }
    }
}

/// Grants what it is told to, cumulatively.
#[derive(Clone, Default)]
pub struct Purse {
    pub granted: Arc<Mutex<Option<i64>>>,
    pub asked: Arc<Mutex<u32>>,
}

#[async_trait]
impl Funds for Purse {
    async fn hold(
        &self,
        _: OrganisationId,
        _: BatchId,
        wanted: i64,
    ) -> Result<i64, FundsUnavailable> {
        *self.asked.lock().unwrap() += 1;
        let granted = *self.granted.lock().unwrap();
        granted.map(|granted| granted.min(wanted)).ok_or(FundsUnavailable("down".into()))
    }
}

pub struct Harness {
    pub broker: MemoryBroker,
    pub clock: Clock,
    pub calls: Calls,
    pub purse: Option<Purse>,
    directory: TempDir,
    stop: Mutex<Stop>,
}

pub const NAME: &str = topology::SMS_DISPATCHER;

impl Harness {
    pub fn new() -> Self {
        Self {
            broker: MemoryBroker::new(),
            clock: Clock::manual(Timestamp::from_second(1_800_000_000).unwrap()),
            calls: Calls::default(),
            purse: None,
            directory: tempfile::tempdir().unwrap(),
            stop: Mutex::new(Stop::new()),
        }
    }

    fn key() -> WrappingKey {
        WrappingKey::new([3; 32])
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub async fn database(&self) -> Database {
        let path = self.path().join("dispatch.db");
        Database::open_sqlite::<carillon_dispatch::Migrator>(&path).await.unwrap()
    }

    /// Starts a dispatcher; after `stop` or a crash, another on the same file.
    pub async fn start(&self) {
        let stop = Stop::new();
        *self.stop.lock().unwrap() = stop.clone();
        let funds = self.purse.clone().map(|purse| Arc::new(purse) as Arc<dyn Funds>);
        carillon_dispatch::start(carillon_dispatch::Parts {
            name: NAME,
            database: self.database().await,
            broker: Arc::new(self.broker.clone()),
            clock: self.clock.clone(),
            stop,
            key: Self::key(),
            gateway: self.calls.clone(),
            funds,
            permits: Permits::default(),
        })
        .await
        .unwrap();
    }

    pub async fn stop(&self) {
        let stop = self.stop.lock().unwrap().clone();
        stop.now();
        assert!(stop.drained(Duration::from_secs(60)).await, "it stops in time");
    }

    pub async fn publish(&self, job: &SendJob) {
        let publication = Publication {
            to: Destination::Queue(topology::job_queue("sms", "bulk")),
            headers: Vec::new(),
            body: job.encode_to_vec().into(),
        };
        self.broker.publish(publication).await.unwrap();
    }

    pub fn job(&self, recipients: u32) -> SendJob {
        let run = RunId::of(CampaignId::new(Uuid::from_u128(1)), "now");
        let batch = BatchId::of(run, Channel::Sms, 0);
        let plain = jobs::Recipients {
            variables: Vec::new(),
            recipients: (0..recipients)
                .map(|n| jobs::Recipient { address: address(n), ..Default::default() })
                .collect(),
        };
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
            customer_ids: pack_customers((0..recipients).map(customer)),
            block: Some(block),
            content: Some(Content {
                sms: Some(jobs::SmsContent { text: "hello".into() }),
                email: None,
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

    /// The newest totals that the report was told, and every change, in order.
    pub async fn told(&self) -> (Totals, Vec<(u32, String, String)>) {
        let queue = topology::event_queue(
            topology::CAMPAIGN_API,
            &topology::stream(NAME, topology::DELIVERY_CHANGED),
        );
        let mut consumer = self.broker.consume(&queue, 10_000).await.unwrap();
        let mut newest = Totals::default();
        let mut changes = Vec::new();
        let mut kept = Vec::new();
        while let Ok(Some(delivery)) =
            tokio::time::timeout(Duration::from_millis(30), consumer.next()).await
        {
            let event = Event::decode(delivery.body.clone()).unwrap();
            let Some(Body::DeliveryChanged(DeliveryChanged {
                totals: Some(totals),
                changes: told,
                ..
            })) = event.body
            else {
                panic!("not a delivery")
            };
            if totals.version > newest.version {
                newest = totals;
            }
            changes.extend(told.into_iter().map(|one| (one.position, one.state, one.reason)));
            kept.push(delivery);
        }
        (newest, changes)
    }

    /// Waits until the newest totals satisfy the condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&Totals) -> bool) -> Totals {
        for _ in 0..300 {
            let (totals, _) = self.told().await;
            if condition(&totals) {
                return totals;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never became true: {what}; last {:?}", self.told().await.0);
    }

    pub async fn job_depth(&self) -> usize {
        self.broker.depth("jobs.sms.bulk").await.unwrap().ready
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
