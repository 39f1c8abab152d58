//! One service as a process of its own. It needs PostgreSQL and RabbitMQ: where the suite runs on
//! embedded parts there is no such process, and nothing here to prove.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use carillon_service_kit::{
    Clock, Database, Stop,
    database::{Postgres, Sql as _},
};
use carillon_testkit::{create_postgres, eventually, is_distributed};
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const BINARY: &str = env!("CARGO_BIN_EXE_carillon");

struct Service {
    child: Child,
    folder: TempDir,
    listen: SocketAddr,
    metrics: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port")
}

fn command(arguments: &[&str], database: &str) -> Command {
    let mut command = Command::new(BINARY);
    let broker = std::env::var("AMQP_URL").expect("AMQP_URL: the suite names a broker");
    command
        .args(arguments)
        .env("CARILLON__DATABASE__URL", database)
        .env("CARILLON__BROKER__URL", broker)
        .stdout(Stdio::null());
    command
}

fn serve(database: &str) -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, internal, metrics) = (free_address(), free_address(), free_address());
    let pid_file = folder.path().join("pid");
    let log = fs::File::create(folder.path().join("log")).expect("a log");
    let child = command(&["serve", "billing", "--pid-file"], database)
        .arg(&pid_file)
        .env("CARILLON__LISTEN", listen.to_string())
        .env("CARILLON__INTERNAL_LISTEN", internal.to_string())
        .env("CARILLON__METRICS_LISTEN", metrics.to_string())
        .stderr(log)
        .spawn()
        .expect("it starts");
    Service { child, folder, listen, metrics }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn migrate(database: &str) {
    let migrated = command(&["migrate", "billing"], database).status().expect("it runs");
    assert!(migrated.success());
}

fn terminate(child: &Child) {
    // By the shell: a program of this name is not on every machine.
    let sent = Command::new("sh").args(["-c", &format!("kill -s TERM {}", child.id())]).status();
    assert!(sent.expect("kill runs").success());
}

#[tokio::test]
async fn tables_that_are_not_up_to_date_are_refused_with_the_remedy() {
    if !is_distributed() {
        return;
    }
    let database = create_postgres().await;
    let mut service = serve(&database);
    let status = service.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
    let said = log_of(service.folder.path());
    assert!(said.contains("run `carillon migrate billing` first"), "{said}");
}

#[tokio::test]
async fn all_tables_in_one_database_are_refused() {
    if !is_distributed() {
        return;
    }
    let database = create_postgres().await;
    let refused = command(&["migrate", "all"], &database).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("write {service} in it"), "{said}");
}

/// The same server, and a database or a role that it does not have.
fn elsewhere(url: &str, port: Option<u16>, database: &str) -> String {
    let mut url = url::Url::parse(url).expect("a URL");
    url.set_path(database);
    if let Some(port) = port {
        url.set_port(Some(port)).expect("it has a host");
        url.set_password(Some("s3cret")).expect("it has a host");
    }
    url.into()
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_named_with_the_remedy() {
    if !is_distributed() {
        return;
    }
    let wrong = elsewhere(&create_postgres().await, None, "nobody_made_this");
    let refused = command(&["migrate", "billing"], &wrong).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("\"nobody_made_this\" does not exist; create the database"), "{said}");
    assert!(!said.contains("at line"), "{said}");
}

#[tokio::test]
async fn a_database_that_is_out_of_reach_is_named_at_once() {
    if !is_distributed() {
        return;
    }
    let port = free_address().port();
    let away = elsewhere(&create_postgres().await, Some(port), "billing");
    for arguments in [["migrate", "billing"], ["serve", "billing"]] {
        let mut command = command(&arguments, &away);
        command.env("CARILLON__LISTEN", free_address().to_string());
        command.env("CARILLON__INTERNAL_LISTEN", free_address().to_string());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let said = lines.map_while(Result::ok).find(|line| line.contains("PostgreSQL at"));
        child.kill().and_then(|()| child.wait()).expect("killed");
        let said = said.unwrap_or_default();
        assert!(said.contains(&format!(":{port}, database 'billing'")), "{arguments:?}: {said}");
        assert!(said.contains("Connection refused") && !said.contains("s3cret"), "{said}");
    }
}

#[tokio::test]
async fn a_service_tells_how_it_is_and_an_open_stream_does_not_hold_its_stop() {
    if !is_distributed() {
        return;
    }
    let database = create_postgres().await;
    migrate(&database);
    let mut service = serve(&database);
    let metrics = service.metrics;
    eventually("it is ready", || async move {
        get(metrics, "/readyz").is_some_and(|answer| answer.contains(" 200 "))
    })
    .await;
    let pid = fs::read_to_string(service.folder.path().join("pid")).expect("a pid file");
    assert_eq!(pid.trim(), service.child.id().to_string());

    let address = format!("http://{}", service.listen);
    let endpoint = Endpoint::from_shared(address).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("it answers"));
    let named = HealthCheckRequest { service: "carillon.billing.v1.AccountService".into() };
    let answer = health.check(named).await.expect("a known name").into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest { service: "carillon.nobody.v1.Nothing".into() };
    assert_eq!(health.check(unknown).await.err().map(|e| e.code()), Some(tonic::Code::NotFound));
    eventually("its outbox is shown", || async move {
        get(metrics, "/metrics")
            .is_some_and(|text| text.contains("carillon_outbox_rows{service=\"billing\"} 0"))
    })
    .await;

    let mut watch = health.watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    let first = watch.message().await.expect("open").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    terminate(&service.child);
    let told = watch.message().await.expect("told before the end").expect("a status");
    assert_eq!(told.status(), ServingStatus::NotServing);
    let status = service.child.wait().expect("it ends, though the stream is open");
    assert!(status.success(), "{}", log_of(service.folder.path()));
}

#[tokio::test]
async fn a_clock_that_follows_the_database_agrees_with_it() {
    if !is_distributed() {
        return;
    }
    let at = Postgres { url: create_postgres().await, connections: 2 };
    let database = Database::connect_postgres(&at).await.expect("it connects");
    let stop = Stop::new();
    let clock = Clock::following(&database, &stop).await.expect("the database tells the time");
    let before = clock.now_ms();
    let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    let row = database.reader().row(sql, []).await.expect("read").expect("a row");
    let there: i64 = row.try_get_by_index(0).expect("a number");
    let after = clock.now_ms();
    // Half of a look's round trip is what it may be off.
    assert!((before - 1_000..=after + 1_000).contains(&there), "{before} {there} {after}");
    stop.now();
}
