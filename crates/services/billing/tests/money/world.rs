//! Billing with an organisation that has a key, and the dispatcher whose totals it hears.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carillon_billing::{Config, Migrator, Parts, Service, start};
use carillon_broker::{Broker, Consumer, topology};
use carillon_contracts::{
    billing::v1::{
        Account, CreditAccountRequest, Entry, GetAccountRequest, HoldRequest, ListEntriesRequest,
        account_service_client::AccountServiceClient, hold_service_client::HoldServiceClient,
    },
    campaign::v1::Organisation,
    events::v1::{DeliveryChanged, KeyHash, OrganisationChanged, Totals, event::Body},
    ids::{BatchId, CampaignId, OrganisationId, RunId},
};
use carillon_outbox::Outbox;
use carillon_service_kit::{
    Clock, Database, Stop,
    database::Sql as _,
    rpc::{Transport, in_process},
};
use carillon_tenancy::{Tenancy, hash_key};
use carillon_testkit::{TestBroker, TestDatabase, eventually};
use tonic::{Request, Status};
use uuid::Uuid;

/// One process of billing, as its clients reach it.
#[derive(Clone)]
pub struct Doors {
    pub accounts: AccountServiceClient<Transport>,
    holds: HoldServiceClient<Transport>,
    organisation: OrganisationId,
}

pub struct Billing {
    pub doors: Doors,
    pub organisation: OrganisationId,
    pub database: TestDatabase,
    /// Stands in for the SMS dispatcher, whose totals billing hears.
    dispatcher: TestDatabase,
    broker: Arc<dyn Broker>,
    outbox: Outbox,
    stop: Stop,
    _server: Option<TestBroker>,
}

pub fn campaign() -> CampaignId {
    CampaignId::new(Uuid::from_u128(0xca))
}

pub fn run() -> RunId {
    RunId::new(Uuid::from_u128(0x12))
}

pub fn keyed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer test-key".parse().unwrap());
    request
}

fn document(version: u64, organisation: Organisation) -> OrganisationChanged {
    OrganisationChanged {
        organisation: Some(organisation),
        version,
        keys: vec![KeyHash {
            hash: hash_key("test-key").to_vec().into(),
            id: Uuid::from_u128(9).as_bytes().to_vec().into(),
            prefix: "crl_12345678".into(),
            test: false,
        }],
        ..OrganisationChanged::default()
    }
}

fn open(
    database: Database,
    broker: Arc<dyn Broker>,
    organisation: OrganisationId,
    stop: &Stop,
) -> Doors {
    let (clock, stop) = (Clock::system(), stop.clone());
    let Service { public, internal } =
        start(Parts { database, broker, clock, stop, config: Config::default() });
    Doors {
        accounts: AccountServiceClient::new(in_process(public)),
        holds: HoldServiceClient::new(in_process(internal)),
        organisation,
    }
}

impl Doors {
    pub async fn credit(&mut self, amount: i64, request_id: &str) -> Result<Account, Status> {
        let request = CreditAccountRequest { amount, request_id: request_id.into() };
        self.accounts.credit_account(keyed(request)).await.map(|answer| answer.into_inner())
    }

    pub async fn account(&mut self) -> Account {
        let account = self.accounts.get_account(keyed(GetAccountRequest {})).await;
        let account = account.unwrap().into_inner();
        assert!(account.available >= 0 && account.held >= 0 && account.spent >= 0, "{account:?}");
        assert_eq!(account.available + account.held + account.spent, account.credited);
        account
    }

    /// For a batch whose messages are of one unit each.
    pub async fn hold(&mut self, batch: u128, wanted: i64) -> i64 {
        self.ask(batch, wanted, 0, &[]).await
    }

    pub async fn ask(&mut self, batch: u128, wanted: i64, used: i64, units: &[u32]) -> i64 {
        let request = HoldRequest {
            organisation_id: self.organisation.to_string(),
            batch_id: Uuid::from_u128(batch).to_string(),
            wanted,
            campaign_id: campaign().to_string(),
            run_id: run().to_string(),
            used,
            units: units.to_vec(),
        };
        self.holds.hold(Request::new(request)).await.unwrap().into_inner().granted
    }
}

impl Billing {
    pub async fn new() -> Self {
        let server = carillon_testkit::broker().await;
        let mut billing = Self::on(Arc::clone(&server.broker)).await;
        billing._server = Some(server);
        billing
    }

    pub async fn on(broker: Arc<dyn Broker>) -> Self {
        let database = carillon_testkit::database::<Migrator>().await;
        let dispatcher = carillon_testkit::database::<Migrator>().await;
        let (stop, clock) = (Stop::new(), Clock::system());
        let organisation = OrganisationId::new(Uuid::from_u128(77));
        let tx = database.database.begin().await.unwrap();
        let document = document(1, Organisation::default());
        let tenancy = Tenancy::new(database.database.clone());
        tenancy.apply(&tx, organisation, &document).await.unwrap();
        tx.commit().await.unwrap();
        let doors = open(database.database.clone(), Arc::clone(&broker), organisation, &stop);
        let name = topology::SMS_DISPATCHER;
        let outbox =
            Outbox::new(name, dispatcher.database.clone(), Arc::clone(&broker), clock.clone());
        outbox.spawn(&stop);
        let _server = None;
        Self { doors, organisation, database, dispatcher, broker, outbox, stop, _server }
    }

    /// What a subscriber hears of one event type of billing.
    pub async fn consume(&self, subscriber: &str, event: &str) -> Box<dyn Consumer> {
        let stream = topology::stream(topology::BILLING, event);
        self.broker.consume(&topology::event_queue(subscriber, &stream), 10).await.unwrap()
    }

    /// Another process on the same database.
    pub async fn replica(&self) -> Doors {
        let database = self.database.again::<Migrator>().await;
        open(database, Arc::clone(&self.broker), self.organisation, &self.stop)
    }

    pub async fn credit(&self, amount: i64, request_id: &str) -> Result<Account, Status> {
        self.doors.clone().credit(amount, request_id).await
    }

    pub async fn account(&self) -> Account {
        self.doors.clone().account().await
    }

    pub async fn hold(&self, batch: u128, wanted: i64) -> i64 {
        self.doors.clone().hold(batch, wanted).await
    }

    pub async fn ask(&self, batch: u128, wanted: i64, used: i64, units: &[u32]) -> i64 {
        self.doors.clone().ask(batch, wanted, used, units).await
    }

    /// The process ends, and another begins on the same database.
    pub async fn restart(&mut self) {
        self.stop.now();
        assert!(self.stop.drained(Duration::from_secs(60)).await);
        self.stop = Stop::new();
        let database = self.database.database.clone();
        self.doors = open(database, Arc::clone(&self.broker), self.organisation, &self.stop);
        let (name, clock) = (topology::SMS_DISPATCHER, Clock::system());
        let told = self.dispatcher.database.clone();
        self.outbox = Outbox::new(name, told, Arc::clone(&self.broker), clock);
        self.outbox.spawn(&self.stop);
    }

    /// Sets the organisation's settings; they hold at once.
    pub async fn settle(&self, version: u64, organisation: Organisation) {
        let tx = self.database.database.begin().await.unwrap();
        let tenancy = Tenancy::new(self.database.database.clone());
        let document = document(version, organisation);
        tenancy.apply(&tx, self.organisation, &document).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The same as the service hears of it, from campaign-api.
    pub async fn change(&self, version: u64, organisation: Organisation) {
        let (producer, database) = (topology::CAMPAIGN_API, self.dispatcher.database.clone());
        let outbox = Outbox::new(producer, database, Arc::clone(&self.broker), Clock::system());
        let tx = self.dispatcher.database.begin().await.unwrap();
        let body = Body::OrganisationChanged(document(version, organisation));
        outbox.append(&tx, self.organisation, body).await.unwrap();
        tx.commit().await.unwrap();
        self.outbox.wake();
    }

    /// How often the organisation was told that its balance is low.
    pub async fn alerts(&self) -> i64 {
        let sql = "SELECT COUNT(*) FROM outbox WHERE stream = 'billing/balance.low'";
        let row = self.database.database.reader().row(sql, []).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Every line of the ledger; each is the one before it, moved by its amount, and the last is the
    /// account.
    pub async fn ledger(&self) -> Vec<Entry> {
        let (mut lines, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListEntriesRequest { page_size: 7, page_token };
            let mut accounts = self.doors.accounts.clone();
            let page = accounts.list_entries(keyed(request)).await.unwrap().into_inner();
            lines.extend(page.entries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut places = BTreeMap::from(
            ["purchased", "available", "held", "spent"].map(|place| (place.to_owned(), 0_i64)),
        );
        let mut number = 0;
        for line in &lines {
            assert!(line.number > number && line.amount > 0, "{line:?}");
            number = line.number;
            *places.get_mut(&line.source).unwrap() -= line.amount;
            *places.get_mut(&line.target).unwrap() += line.amount;
            let shown = (line.available, line.held, line.spent);
            let moved = (places["available"], places["held"], places["spent"]);
            assert_eq!(shown, moved, "{line:?} of {lines:?}");
        }
        let Account { available, held, spent, credited, .. } = self.account().await;
        let moved = (places["available"], places["held"], places["spent"], -places["purchased"]);
        assert_eq!((available, held, spent, credited), moved);
        lines
    }

    /// Tells billing these totals and waits until it has heard them.
    pub async fn tell(&self, all: &[(u128, Totals)]) {
        let tx = self.dispatcher.database.begin().await.unwrap();
        for (batch, totals) in all {
            let changed = DeliveryChanged {
                campaign_id: campaign().to_wire(),
                run_id: run().to_wire(),
                batch_id: BatchId::new(Uuid::from_u128(*batch)).to_wire(),
                totals: Some(totals.clone()),
                ..DeliveryChanged::default()
            };
            let body = Body::DeliveryChanged(changed);
            self.outbox.append(&tx, self.organisation, body).await.unwrap();
        }
        tx.commit().await.unwrap();
        self.outbox.wake();
        let numbered = "SELECT COUNT(*) FROM outbox WHERE seq IS NULL";
        let last = "SELECT MAX(last_seq) FROM streams";
        let mark = "SELECT MAX(mark) FROM marks WHERE stream LIKE 'sms%'";
        eventually("the totals are heard", || async {
            let one = |row: Option<sea_orm::QueryResult>| -> Option<i64> {
                row.and_then(|row| row.try_get_by_index(0).ok()).flatten()
            };
            let reader = self.dispatcher.database.reader();
            let heard = self.database.database.reader();
            one(reader.row(numbered, []).await.unwrap()) == Some(0)
                && one(reader.row(last, []).await.unwrap())
                    == one(heard.row(mark, []).await.unwrap())
        })
        .await;
    }
}

pub fn totals(version: u64, needed: u64, posted: u64, closed: bool) -> Totals {
    Totals { version, needed_units: needed, posted_units: posted, closed, ..Totals::default() }
}
