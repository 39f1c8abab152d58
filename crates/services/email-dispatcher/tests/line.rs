//! The whole service: a job comes in, a mail arrives at the organisation's server.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use carillon_broker::{Broker, Destination, Publication, topology};
use carillon_contracts::{
    campaign::v1::{Organisation, SmtpServer, SmtpThrottle, SmtpTls},
    dispatch::v1::{TestSmtpServerRequest, settings_service_client::SettingsServiceClient},
    events::v1::OrganisationChanged,
    ids::{BatchId, CampaignId, CustomerId, MessageId, OrganisationId, RunId, pack_customers},
    jobs::v1::{
        self as jobs, Cause, Channel, Content, EmailContent, MessageClass, SealedBlock, SendJob,
    },
    time,
};
use carillon_dispatch::{Permits, sandbox::SandboxConfig};
use carillon_email_dispatcher::{Config, Migrator, Parts, Service};
use carillon_sealing::{Linked, Links, WrappingKey};
use carillon_service_kit::{
    Clock, Stop,
    database::Sql as _,
    egress::{Egress, Policy},
    rpc,
};
use carillon_sinks::{Behaviour, Fault, Mail, SmtpSink, Stage, What};
use carillon_tenancy::{SMTP_PASSWORD, Tenancy, seal_secret};
use carillon_testkit::{TestBroker, TestDatabase, eventually};
use jiff::SignedDuration;
use mail_parser::MessageParser;
use prost::Message as _;
use uuid::Uuid;

const URL: &str = "https://carillon.example";
const RUN_DAY: i32 = 20_270_115;

fn key() -> WrappingKey {
    WrappingKey::new([3; 32])
}

fn organisation() -> OrganisationId {
    OrganisationId::new(Uuid::from_u128(5))
}

fn customer(n: u128) -> CustomerId {
    CustomerId::new(Uuid::from_u128(1_000 + n))
}

struct Line {
    database: TestDatabase,
    broker: TestBroker,
    clock: Clock,
    stop: Stop,
    service: Service,
    tenancy: Tenancy,
}

impl Line {
    async fn start(sandbox: bool) -> Self {
        let database = carillon_testkit::database::<Migrator>().await;
        let broker = carillon_testkit::broker().await;
        let (clock, stop) = (Clock::system(), Stop::new());
        let sandbox = SandboxConfig { enabled: sandbox, ..SandboxConfig::default() };
        let service = carillon_email_dispatcher::start(Parts {
            database: database.again::<Migrator>().await,
            broker: Arc::clone(&broker.broker) as Arc<dyn Broker>,
            clock: clock.clone(),
            stop: stop.clone(),
            key: key(),
            permits: Permits::default(),
            egress: Egress::new(Policy { allow_private: true }),
            public_url: URL.into(),
            outbox: database.directory.path().join("outbox"),
            config: Config { sandbox, ..Config::default() },
        });
        let service = service.await.expect("it starts");
        let tenancy = Tenancy::new(database.database.clone());
        Self { database, broker, clock, stop, service, tenancy }
    }

    async fn set(&self, version: u64, smtp: Option<SmtpServer>, password: &str) {
        let sealed = seal_secret(&key(), organisation(), SMTP_PASSWORD, password.as_bytes());
        let document = OrganisationChanged {
            version,
            organisation: Some(Organisation {
                id: organisation().to_string(),
                name: "Café".into(),
                smtp,
                ..Organisation::default()
            }),
            secrets: [(SMTP_PASSWORD.to_owned(), sealed.expect("sealed"))].into(),
            ..OrganisationChanged::default()
        };
        let tx = self.database.database.begin().await.expect("begun");
        self.tenancy.apply(&tx, organisation(), &document).await.expect("kept");
        tx.commit().await.expect("committed");
    }

    /// Publishes one message of a run of its own, and answers with its id.
    async fn publish(&self, occurrence: &str) -> MessageId {
        self.publish_of(1, occurrence, false).await
    }

    async fn publish_as(&self, occurrence: &str, test: bool) -> MessageId {
        self.publish_of(1, occurrence, test).await
    }

    /// The same to so many recipients; the id is the first one's.
    async fn publish_to(&self, recipients: u128, occurrence: &str) -> MessageId {
        self.publish_of(recipients, occurrence, false).await
    }

    async fn publish_of(&self, recipients: u128, occurrence: &str, test: bool) -> MessageId {
        let run = RunId::of(CampaignId::new(Uuid::from_u128(1)), occurrence);
        let mut job = job(run, &self.clock, recipients);
        job.content.as_mut().expect("a content").test = test;
        let publication = Publication {
            to: Destination::Queue(topology::job_queue("email", "bulk")),
            headers: Vec::new(),
            body: job.encode_to_vec().into(),
        };
        self.broker.broker.publish(publication).await.expect("published");
        MessageId::of(run, Channel::Email, customer(0))
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM messages WHERE {condition}");
        let row = self.database.database.reader().row(&sql, []).await.expect("read");
        row.expect("a row").try_get_by_index(0).expect("a number")
    }

    async fn end(self) {
        self.stop.now();
        assert!(self.stop.drained(Duration::from_secs(120)).await, "it stops");
    }
}

fn job(run: RunId, clock: &Clock, recipients: u128) -> SendJob {
    let batch = BatchId::of(run, Channel::Email, 0);
    let plain = jobs::Recipients {
        variables: vec!["UserName".into()],
        recipients: (0..recipients)
            .map(|_| jobs::Recipient {
                address: "ann@example.com".into(),
                values: vec!["Zoë".into()],
                ..jobs::Recipient::default()
            })
            .collect(),
    };
    let context = batch.uuid();
    let (data_key, wrapped) = key().new_data_key(context.as_bytes()).expect("a key");
    let packed = carillon_sealing::compress(&plain.encode_to_vec());
    let block = SealedBlock {
        key_id: key().id().to_owned(),
        wrapped_key: wrapped.into(),
        ciphertext: data_key.seal(&packed, context.as_bytes()).expect("sealed").into(),
    };
    let email = EmailContent {
        subject: "For {UserName}".into(),
        text: "Stop: {UnsubscribeUrl}".into(),
        html: "<a href=\"{UnsubscribeUrl}\">stop</a>".into(),
    };
    SendJob {
        organisation_id: organisation().to_wire(),
        campaign_id: CampaignId::new(Uuid::from_u128(1)).to_wire(),
        run_id: run.to_wire(),
        run_day: RUN_DAY,
        batch_id: batch.to_wire(),
        channel: Channel::Email.into(),
        message_class: MessageClass::Bulk.into(),
        deadline: Some(time::to_wire(clock.now() + SignedDuration::from_hours(1))),
        customer_ids: pack_customers((0..recipients).map(customer)),
        block: Some(block),
        content: Some(Content { email: Some(email), ..Content::default() }),
        cause: Cause::Unspecified.into(),
        traceparent: String::new(),
    }
}

fn server(sink: &SmtpSink) -> SmtpServer {
    SmtpServer {
        host: "127.0.0.1".into(),
        port: u32::from(sink.port()),
        tls: SmtpTls::None.into(),
        user: "shop".into(),
        from: "news@shop.example".into(),
        ..SmtpServer::default()
    }
}

async fn sink() -> SmtpSink {
    let credentials = Some(("shop".to_owned(), "s3cret".to_owned()));
    SmtpSink::start(Behaviour { credentials, ..Behaviour::default() }).await
}

fn assert_is_for(mail: &Mail, message: MessageId) {
    let parsed = MessageParser::default().parse(&mail.source).expect("a message");
    let id = format!("{RUN_DAY}.{message}@shop.example");
    assert_eq!(parsed.message_id(), Some(id.as_str()));
    assert_eq!(parsed.subject(), Some("For Zoë"));
    let from = parsed.from().and_then(|from| from.first()).expect("a sender");
    assert_eq!((from.name(), from.address()), (Some("Café"), Some("news@shop.example")));
    let link = parsed.header_raw("List-Unsubscribe").expect("a link").trim();
    let link = link.trim_matches(['<', '>']);
    let token = link.strip_prefix("https://carillon.example/u/").expect("below the address");
    let linked = Linked {
        organisation: organisation().uuid(),
        customer: customer(0).uuid(),
        channel: Channel::Email as u8,
    };
    assert_eq!(Links::new(URL, &key()).read(token), Some(linked));
    let one_click = parsed.header_raw("List-Unsubscribe-Post").map(str::trim);
    assert_eq!(one_click, Some("List-Unsubscribe=One-Click"));
    let text = parsed.body_text(0).expect("text");
    assert_eq!(text.trim_end(), format!("Stop: {link}"));
    let html = parsed.body_html(0).expect("html");
    assert_eq!(html.trim_end(), format!("<a href=\"{link}\">stop</a>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_becomes_a_mail_at_the_organisations_own_server() {
    let (line, sink) = (Line::start(false).await, sink().await);
    line.set(1, Some(server(&sink)), "s3cret").await;
    let message = line.publish("one").await;
    eventually("it arrives", async || sink.count() == 1).await;
    eventually("it is recorded", async || line.count("provider_id = '4bXy7Z'").await == 1).await;
    assert_is_for(&sink.mails()[0], message);
    line.end().await;
    eventually("idle connections are closed", async || sink.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_settings_hold_and_old_connections_go() {
    let (line, old, new) = (Line::start(false).await, sink().await, sink().await);
    line.set(1, Some(server(&old)), "s3cret").await;
    line.publish("one").await;
    eventually("the first arrives", async || old.count() == 1).await;
    line.set(2, Some(server(&new)), "s3cret").await;
    eventually("the settings hold", async || {
        line.publish(&Uuid::new_v4().to_string()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        new.count() > 0
    })
    .await;
    eventually("the old connection is closed", async || old.open() == 0).await;
    line.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_mails_fail_or_stay_in_the_sandbox() {
    let line = Line::start(false).await;
    line.set(1, None, "").await;
    line.publish("one").await;
    eventually("it fails", async || line.count("reason = 'no_smtp_server'").await == 1).await;
    line.end().await;

    let line = Line::start(true).await;
    line.set(1, None, "").await;
    let message = line.publish("one").await;
    let path = line.database.directory.path().join(format!("outbox/email/{message}.eml"));
    eventually("it is kept", async || Path::new(&path).exists()).await;
    let source = std::fs::read_to_string(&path).expect("read");
    assert!(source.contains("List-Unsubscribe: <https://carillon.example/u/"), "{source}");
    line.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_test_key_started_stays_in_the_sandbox_or_goes_nowhere() {
    for sandbox in [true, false] {
        let (line, sink) = (Line::start(sandbox).await, sink().await);
        line.set(1, Some(server(&sink)), "s3cret").await;
        let message = line.publish_as("test", true).await;
        let sent = format!("state = 'sent' AND provider_id = '{message}'");
        eventually("it counts as sent", async || line.count(&sent).await == 1).await;
        let path = line.database.directory.path().join(format!("outbox/email/{message}.eml"));
        assert_eq!(Path::new(&path).exists(), sandbox);
        assert_eq!(sink.dots(), 0, "no server was asked");
        line.publish("real").await;
        eventually("what is no test leaves as ever", async || sink.count() == 1).await;
        line.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_tried_out_without_sending() {
    let (line, sink) = (Line::start(false).await, sink().await);
    let mut client = SettingsServiceClient::new(rpc::in_process(line.service.internal.clone()));
    let mut request = TestSmtpServerRequest {
        organisation_id: organisation().uuid().as_bytes().to_vec(),
        smtp: Some(server(&sink)),
        password: Some(
            seal_secret(&key(), organisation(), SMTP_PASSWORD, b"s3cret").expect("sealed"),
        ),
        to: "ann@example.com".into(),
    };
    let answer = client.test_smtp_server(request.clone()).await.expect("answered").into_inner();
    assert_eq!((answer.ok, answer.code.as_str()), (true, "ok"), "{}", answer.message);
    request.password = None;
    let answer = client.test_smtp_server(request.clone()).await.expect("answered").into_inner();
    assert_eq!((answer.ok, answer.code.as_str()), (false, "authentication_refused"));
    request.organisation_id = Uuid::from_u128(6).as_bytes().to_vec();
    request.password =
        Some(seal_secret(&key(), organisation(), SMTP_PASSWORD, b"s3cret").expect("sealed"));
    let refused = client.test_smtp_server(request).await.expect_err("sealed for another");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(sink.dots(), 0);
    line.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_back_mails_for_a_server_that_says_nothing() {
    for at in [Stage::Connect, Stage::Ehlo, Stage::Data] {
        let faults = vec![Fault::always(at, What::Stall)];
        let sink = SmtpSink::start(Behaviour { faults, ..Behaviour::default() }).await;
        let line = Line::start(false).await;
        let smtp = SmtpServer { user: String::new(), ..server(&sink) };
        line.set(1, Some(smtp), "").await;
        line.publish_to(20, "one").await;
        eventually("the server is silent", async || sink.met() > 0).await;
        line.stop.now();
        assert!(line.stop.drained(Duration::from_secs(120)).await, "it stops");
        assert_eq!(line.count("state <> 'queued'").await, 0, "{at:?}");
        assert_eq!(line.count("attempt > 0 OR reason <> 'backlog'").await, 0, "{at:?}");
        assert_eq!(sink.dots(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_goes_by_one_connection_that_is_gone_in_the_pause() {
    let (line, sink) = (Line::start(false).await, sink().await);
    let (pause, gap) = (Duration::from_secs(2), Duration::from_millis(200));
    let wait = |wait| prost_types::Duration::try_from(wait).expect("short");
    let throttle = SmtpThrottle { mails: 3, pause: Some(wait(pause)), gap: Some(wait(gap)) };
    let smtp = SmtpServer { throttle: Some(throttle), connections: 8, ..server(&sink) };
    line.set(1, Some(smtp), "s3cret").await;
    line.publish_to(7, "one").await;
    eventually("all arrive", async || sink.count() == 7).await;
    let mut by: BTreeMap<usize, usize> = BTreeMap::new();
    sink.mails().iter().for_each(|mail| *by.entry(mail.connection).or_default() += 1);
    assert!(by.len() >= 3 && by.values().all(|mails| *mails <= 3), "{by:?}");
    assert_eq!(sink.most_open(), 1, "each is closed before there is another");
    let begun = sink.begun();
    // A mail may come later than it left, and so nearer to the next one.
    for pair in begun.windows(2) {
        assert!(pair[1] - pair[0] >= gap / 2, "{:?}", pair[1] - pair[0]);
    }
    for four in begun.windows(4) {
        assert!(four[3] - four[0] >= pause, "{:?}", four[3] - four[0]);
    }
    line.end().await;
}
