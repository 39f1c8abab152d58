//! Real processes with real servers and providers, something that breaks, and the end of it.

use std::{
    cell::RefCell,
    collections::HashMap,
    os::unix::process::ExitStatusExt as _,
    thread,
    time::{Duration, Instant},
};

use carillon_broker::Broker as _;
use carillon_contracts::campaign::v1::Campaign;
use carillon_e2e::{Providers, Stack, customers};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{
    Clock, Database,
    database::{Postgres, Sql as _},
};
use jiff::{Timestamp, tz::TimeZone};
use prost::Message as _;
use sea_orm::QueryResult;
use serde_json::Value as Json;

use crate::{
    Outcome, Size,
    check::{self, Books},
};

/// Messages that one kill of a dispatcher may leave unknown: 2·W (PROTOCOL §6).
pub(crate) const UNKNOWN_A_KILL: usize = 128;
/// Long: machines are busy.
const PATIENCE: Duration = Duration::from_secs(600);
/// Seconds in its place, where something is expected not to come.
const PATIENCE_VARIABLE: &str = "FAULTS_PATIENCE";
/// What a process is armed with must meet it.
const DIES_WITHIN: Duration = Duration::from_secs(60);
/// What a fault point ends a process with.
const SIGABRT: i32 = 6;
/// Of one batch on each channel.
const ONE_BATCH: usize = 400;

/// To everyone, on both channels.
pub(crate) const BOTH: &str = "sms: { text: \"Hi {UserName|friend}, 25 % off today.\" }\n  \
    email: { subject: \"For you, {FirstName}\", text: \"25 % off today.\" }\n";
pub(crate) const SMS: &str = "sms: { text: \"Hi {UserName|friend}, 25 % off today.\" }\n";
pub(crate) const EMAIL: &str =
    "email: { subject: \"For you, {FirstName}\", text: \"25 % off today.\" }\n";

pub(crate) const DISPATCHERS: [&str; 2] = ["sms-dispatcher", "email-dispatcher"];

pub(crate) struct Drill {
    pub stack: Stack,
    pub providers: Providers,
    pub campaigns: Vec<String>,
    pub kills: usize,
    pub customers: usize,
    /// Messages of each campaign, as whoever wrote it knows.
    expected: HashMap<String, usize>,
    other_ends: Vec<&'static str>,
    parked: usize,
    databases: RefCell<HashMap<String, Database>>,
}

/// What the report says of one message.
pub(crate) struct Detail {
    /// Of its customer.
    pub number: usize,
    pub message: String,
    pub state: String,
    pub reason: String,
    pub code: String,
    pub attempt: usize,
}

impl Detail {
    /// State, reason, the provider's code, and how often it was tried.
    pub fn is(&self) -> (&str, &str, &str, usize) {
        (&self.state, &self.reason, &self.code, self.attempt)
    }
}

impl Drill {
    /// Customers for so many messages on both channels together, and credits for all that they may
    /// get.
    pub fn new(size: &Size, replicas: &[(&str, usize)]) -> Self {
        Self::of(size.recipients / 2, replicas, &[])
    }

    /// Customers for as many messages in so many campaigns, 1,000 at the least: kills need steps to
    /// strike in.
    pub fn of_campaigns(size: &Size, campaigns: usize) -> Self {
        Self::of((size.recipients / 2 / campaigns).max(1_000), &[], &[])
    }

    /// Customers for one batch on each channel.
    pub fn of_one_batch(replicas: &[(&str, usize)]) -> Self {
        Self::of(ONE_BATCH, replicas, &[])
    }

    pub fn of(customers: usize, replicas: &[(&str, usize)], settings: &[(&str, &str)]) -> Self {
        let stack = Stack::start(replicas, settings);
        let providers = Providers::start(Duration::ZERO);
        providers.set_for(&stack, &[]);
        if customers > 0 {
            let file = stack.write("customers.csv", customers::csv(customers));
            let _ = stack.run(&["customers", "import", &file]).ok();
            stack.credit(20 * customers as u64);
        }
        let (campaigns, databases) = (Vec::new(), RefCell::default());
        let (expected, other_ends) = (HashMap::new(), Vec::new());
        let (kills, parked) = (0, 0);
        Self {
            stack,
            providers,
            campaigns,
            kills,
            customers,
            expected,
            other_ends,
            parked,
            databases,
        }
    }

    /// Starts a campaign to everyone.
    pub fn send(&mut self, content: &str) -> String {
        let id = self.draft("now", "1d", content);
        self.start(&id, content);
        id
    }

    /// The same, with a deadline that may be sooner than campaigns can have: written where the
    /// campaign is kept.
    pub fn send_for(&mut self, content: &str, pending: Duration) -> String {
        let id = self.draft("now", "1m", content);
        let sql = format!("SELECT document FROM campaigns WHERE campaign_id = '{id}'");
        let kept: Vec<u8> = self.rows("campaign-api", &sql)[0].try_get_by_index(0).expect("bytes");
        let mut campaign = Campaign::decode(kept.as_slice()).expect("a campaign");
        campaign.pending_period.as_mut().expect("a minute").seconds =
            pending.as_secs().try_into().expect("seconds");
        let hex: String =
            campaign.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!(
            "UPDATE campaigns SET document = '\\x{hex}' WHERE campaign_id = '{id}' RETURNING 1"
        );
        assert_eq!(self.rows("campaign-api", &sql).len(), 1);
        self.start(&id, content);
        id
    }

    /// Starts what was drafted with this content.
    pub fn start(&mut self, id: &str, content: &str) {
        let _ = self.stack.run(&["campaign", "start", id, "--yes"]).ok();
        let channels = ["sms: {", "email: {"].iter().filter(|channel| content.contains(**channel));
        self.expect(id, channels.count() * self.customers);
    }

    /// Of a campaign that somebody else started.
    pub fn expect(&mut self, id: &str, messages: usize) {
        self.campaigns.push(id.to_owned());
        self.expected.insert(id.to_owned(), messages);
    }

    /// States besides sent and unknown that messages may end in.
    pub fn may_end_as(&mut self, states: &[&'static str]) {
        self.other_ends.extend(states);
    }

    /// Besides what the drill made unreadable, nothing is parked.
    pub fn may_park(&mut self, count: usize) {
        self.parked = count;
    }

    /// The campaign's, once it has run.
    pub fn deadline(&self, campaign: &str) -> Instant {
        let sql = format!("SELECT deadline_at FROM runs WHERE campaign_id = '{campaign}'");
        let mut runs = Vec::new();
        until("the campaign runs", || {
            runs = self.rows("scheduler", &sql);
            !runs.is_empty()
        });
        let deadline_ms: i64 = runs[0].try_get_by_index(0).expect("an instant");
        let left = (deadline_ms - Clock::system().now_ms()).try_into().expect("it lies ahead");
        Instant::now() + Duration::from_millis(left)
    }

    /// A campaign to everyone that is not started.
    pub fn draft(&self, schedule: &str, pending_period: &str, content: &str) -> String {
        self.stack.campaign(&format!(
            "name: To everyone\nactive: true\naudience: {{ everyone: true }}\nschedule: {schedule}\n\
             pending_period: {pending_period}\ncontent:\n  {content}"
        ))
    }

    /// From its next start on, which is now, the process meets this fault.
    pub fn arm(&mut self, service: &str, number: usize, fault: &str) {
        self.arm_at_work(service, number, fault);
        self.stack.wait_ready(service, number);
    }

    /// The same, of a process that has work to do, and may die of it before it is ready.
    pub fn arm_at_work(&mut self, service: &str, number: usize, fault: &str) {
        let ended = self.stack.terminate(service, number);
        assert_eq!(ended, Some(0), "{}", self.stack.read_log(service, number));
        self.begin_with(service, number, fault);
    }

    /// A new start with this fault, or without, which is not waited for.
    pub fn begin_with(&mut self, service: &str, number: usize, fault: &str) {
        self.stack.set_faults(service, number, fault);
        self.stack.begin(service, number);
    }

    /// Waits until the process dies of what it is armed with, and starts it again with the next
    /// fault, as often as there are any, and then without.
    pub fn dies_of(&mut self, service: &str, number: usize, next: &[&str]) {
        for fault in next.iter().chain([&""]) {
            self.dies(service, number);
            self.begin_with(service, number, fault);
        }
        self.stack.wait_ready(service, number);
    }

    /// Waits until the process dies of what it is armed with.
    pub fn dies(&mut self, service: &str, number: usize) {
        let ended = self.stack.await_end(service, number, DIES_WITHIN);
        let log = self.stack.read_log(service, number);
        assert_eq!(ended.signal(), Some(SIGABRT), "it ended by itself: {ended}\n{log}");
        self.kills += 1;
    }

    /// kill -9, and a new start, which is not waited for.
    pub fn kill(&mut self, service: &str, number: usize) {
        self.stack.kill(service, number);
        self.kills += 1;
        self.stack.begin(service, number);
    }

    pub fn wait_ready(&mut self) {
        for (service, number) in self.stack.replicas() {
            self.stack.wait_ready(&service, number);
        }
    }

    /// Waits until the providers took so many.
    pub fn until_accepted(&self, count: usize) {
        until("enough is accepted", || self.providers.total() >= count);
    }

    /// Waits until all that was planned is settled; answers the report.
    pub fn until_settled(&self, campaign: &str) -> Json {
        check::until_settled(&self.stack, campaign)
    }

    /// The detailed report by the address that each message is for.
    pub fn details(&self, campaign: &str) -> HashMap<String, Detail> {
        let mut details = HashMap::new();
        for row in self.stack.detail(campaign) {
            let number = row["external_id"][1..].parse().expect("C and a number");
            let address = if row["channel"] == "sms" { customers::phone } else { customers::email };
            let [state, reason, code] =
                ["state", "reason", "provider_code"].map(|column| row[column].clone());
            let attempt = row["attempt"].parse().expect("a number");
            let message = row["message_id"].clone();
            let detail = Detail { number, message, state, reason, code, attempt };
            details.insert(address(number), detail);
        }
        details
    }

    /// Waits for the end and holds it against the promises.
    pub fn end(self, unknown_at_most: usize) -> Outcome {
        self.check(unknown_at_most)
    }

    /// The same, of a scenario that goes on looking.
    pub fn check(&self, unknown_at_most: usize) -> Outcome {
        let campaigns = self.campaigns.iter().map(|id| (id.clone(), self.expected[id])).collect();
        let books = Books {
            cli: &self.stack,
            rows: &|service, sql| self.rows(service, sql),
            id: |id| format!("'{id}'"),
            accepted: &|| self.providers.accepted(),
            campaigns,
            parked: self.parked,
            other_ends: &self.other_ends,
        };
        Outcome { kills: self.kills, ..check::the_end(&books, unknown_at_most) }
    }

    /// Messages that wait in a queue.
    pub fn depth(&self, queue: &str) -> u64 {
        let depth = self.stack.wait(async {
            let client = self.stack.rabbit.client().await;
            client.depth(queue).await
        });
        depth.map_or(0, |depth| depth.ready as u64)
    }

    pub fn rows(&self, service: &str, sql: &str) -> Vec<QueryResult> {
        let known = self.databases.borrow().get(service).cloned();
        self.stack.wait(async {
            let database = match known {
                Some(database) => database,
                None => {
                    let url = self.stack.database_url(service);
                    let at = Postgres { url, connections: 1 };
                    let database = Database::connect_postgres(&at).await.expect("a database");
                    self.databases.borrow_mut().insert(service.to_owned(), database.clone());
                    database
                }
            };
            database.reader().rows(sql, []).await.expect("rows")
        })
    }

    /// A statement of the server's own, which no database of a service is needed for.
    pub fn admin(&self, sql: &str) {
        let url = std::env::var("DATABASE_URL").expect("scripts/servers");
        self.databases.borrow_mut().clear();
        self.stack.wait(async {
            let at = Postgres { url, connections: 1 };
            let admin = Database::connect_postgres(&at).await.expect("a server");
            admin.reader().run(sql, []).await.expect("done");
        });
    }

    /// Of the stack's processes.
    pub fn wrapping_key(&self) -> WrappingKey {
        let key = std::fs::read(self.stack.path("wrapping-key")).expect("a key");
        WrappingKey::from_hex(&key).expect("a key")
    }

    /// How often batches were released again, because nothing was heard of them.
    pub fn handed_out_again(&self) -> i64 {
        let again = "SELECT COALESCE(SUM(overtaken), 0)::bigint FROM batches";
        self.count("segment-evaluator", again)
    }

    /// Rows of the service's outbox that the broker has not confirmed.
    pub fn unsent(&self, service: &str) -> i64 {
        self.count(service, "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL")
    }

    pub fn count(&self, service: &str, sql: &str) -> i64 {
        self.rows(service, sql)[0].try_get_by_index(0).expect("a count")
    }
}

pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

/// In Amsterdam, where the organisation is.
pub(crate) fn local(at: Timestamp) -> String {
    let zone = TimeZone::get("Europe/Amsterdam").expect("a known zone");
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// # Panics
/// Where it never becomes true.
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    let given = std::env::var(PATIENCE_VARIABLE).ok().and_then(|given| given.parse().ok());
    within(given.map_or(PATIENCE, Duration::from_secs), what, condition);
}

/// # Panics
/// Where it does not become true in time.
pub(crate) fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < time, "not within {time:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
