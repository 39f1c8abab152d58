//! The distributed way: every service its own process, with databases and a virtual host of their
//! own on the tests' PostgreSQL and RabbitMQ.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use carillon_testkit::Rabbit;
use rand::RngExt as _;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    cli::{Cli, binary},
    front,
};

const PLATFORM_KEY: &str = "crl_platform_0123456789abcdef0123456789abcdef0123456789abcdef";
const WRAPPING_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub const SERVICES: [&str; 6] = [
    "campaign-api",
    "scheduler",
    "segment-evaluator",
    "sms-dispatcher",
    "email-dispatcher",
    "billing",
];
/// How long a process may take to become ready, or to end: long, for machines are busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stack {
    cli: Cli,
    settings: Vec<(String, String)>,
    processes: BTreeMap<(String, usize), Process>,
    pub rabbit: Rabbit,
    /// `postgres://…/prefix_{service}`
    database_url: String,
    runtime: Runtime,
}

struct Process {
    listen: SocketAddr,
    internal: SocketAddr,
    operations: SocketAddr,
    child: Option<Child>,
    /// What happens at its fault points, as `fail` has it.
    faults: String,
}

impl Stack {
    /// Every service once, and as many replicas as are asked for, with one organisation.
    pub fn start(replicas: &[(&str, usize)], settings: &[(&str, &str)]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (rabbit, database_url) =
            runtime.block_on(async { (Rabbit::create().await, create_databases().await) });
        let mut stack = Self {
            cli: Cli::unset(),
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            processes: BTreeMap::new(),
            rabbit,
            database_url,
            runtime,
        };
        stack.write("platform-key", PLATFORM_KEY);
        stack.write("wrapping-key", WRAPPING_KEY);
        for service in SERVICES {
            let count = replicas.iter().find(|(name, _)| *name == service).map_or(1, |(_, n)| *n);
            for number in 1..=count {
                let (listen, internal, operations) = (free(), free(), free());
                let (child, faults) = (None, String::new());
                let process = Process { listen, internal, operations, child, faults };
                stack.processes.insert((service.to_owned(), number), process);
            }
        }
        stack.serve_front();
        let migrated = stack.command_of("campaign-api", 1, &["migrate", "all"]).status();
        assert!(migrated.expect("it runs").success(), "{}", stack.read_log("campaign-api", 1));
        let all = stack.replicas();
        all.iter().for_each(|(service, number)| stack.begin(service, *number));
        all.iter().for_each(|(service, number)| stack.wait_ready(service, *number));
        stack.cli.key = stack.new_organisation("Café Carillon", &[]);
        stack
    }

    fn serve_front(&mut self) {
        let mut services: HashMap<String, Vec<SocketAddr>> = HashMap::new();
        for ((service, _), process) in &self.processes {
            services.entry(service.clone()).or_default().push(process.listen);
        }
        self.cli.url = format!("http://{}", self.runtime.block_on(front::serve(services)));
    }

    /// Every process by its service's name and number.
    pub fn replicas(&self) -> Vec<(String, usize)> {
        self.processes.keys().cloned().collect()
    }

    pub fn new_organisation(&self, name: &str, more: &[&str]) -> String {
        self.create_organisation(PLATFORM_KEY, name, more)
    }

    pub fn platform_key(&self) -> &'static str {
        PLATFORM_KEY
    }

    /// The database of one service.
    pub fn database_url(&self, service: &str) -> String {
        self.database_url.replace("{service}", &service.replace('-', "_"))
    }

    fn command_of(&self, service: &str, number: usize, args: &[&str]) -> Command {
        let process = &self.processes[&(service.to_owned(), number)];
        let log = fs::File::options().create(true).append(true).open(self.log(service, number));
        let log = log.expect("a log");
        let mut command = Command::new(binary());
        command
            .args(args)
            .env("CARILLON__DATABASE__URL", &self.database_url)
            .env("CARILLON__BROKER__URL", self.rabbit.url().as_str())
            .env("CARILLON__LISTEN", process.listen.to_string())
            .env("CARILLON__INTERNAL_LISTEN", process.internal.to_string())
            .env("CARILLON__METRICS_LISTEN", process.operations.to_string())
            .env("CARILLON__PUBLIC_URL", &self.url)
            .env("CARILLON__WRAPPING_KEY__FILE", self.path("wrapping-key"))
            .env("CARILLON__PLATFORM_KEY__FILE", self.path("platform-key"))
            .env("CARILLON__EGRESS__ALLOW_PRIVATE", "true")
            .env("CARILLON__SANDBOX_OUTBOX", self.path("outbox"))
            .env("CARILLON__LOG__FORMAT", "text")
            .env("CARILLON__LOG__FILTER", "info")
            .env("CARILLON__GRACE", "10s")
            .env("FAILPOINTS", &process.faults)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        for service in SERVICES {
            let internal = self.processes[&(service.to_owned(), 1)].internal;
            let name = service.replace('-', "_").to_uppercase();
            command.env(format!("CARILLON__SERVICES__{name}"), format!("http://{internal}"));
        }
        command.envs(self.settings.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts the process again, and does not wait for it.
    pub fn begin(&mut self, service: &str, number: usize) {
        let child = self.command_of(service, number, &["serve", service]).spawn();
        let process = self.process(service, number);
        process.child = Some(child.expect("the service starts"));
    }

    fn process(&mut self, service: &str, number: usize) -> &mut Process {
        self.processes.get_mut(&(service.to_owned(), number)).expect("a replica of this number")
    }

    /// Starts the process again, and waits until it serves.
    pub fn spawn(&mut self, service: &str, number: usize) {
        self.begin(service, number);
        self.wait_ready(service, number);
    }

    pub fn wait_ready(&mut self, service: &str, number: usize) {
        let operations = self.process(service, number).operations;
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if http(operations, "GET", "/readyz", "").is_some_and(|(status, _)| status == 200) {
                return;
            }
            let child = self.process(service, number).child.as_mut().expect("it was started");
            if let Some(ended) = child.try_wait().expect("waited") {
                panic!("{service} ended with {ended}:\n{}", self.read_log(service, number));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{service} is not ready:\n{}", self.read_log(service, number));
    }

    /// What happens at the fault points of a program that has them, from its next start on.
    pub fn set_faults(&mut self, service: &str, number: usize, faults: &str) {
        faults.clone_into(&mut self.process(service, number).faults);
    }

    /// Whether the process, which was started, has ended by itself.
    pub fn has_ended(&mut self, service: &str, number: usize) -> bool {
        let child = self.process(service, number).child.as_mut();
        child.is_some_and(|child| child.try_wait().expect("waited").is_some())
    }

    /// Waits until the process has ended by itself; answers how.
    ///
    /// # Panics
    /// If it does not.
    pub fn await_end(&mut self, service: &str, number: usize, within: Duration) -> ExitStatus {
        let begun = std::time::Instant::now();
        let mut child = self.process(service, number).child.take().expect("it was started");
        loop {
            if let Some(ended) = child.try_wait().expect("waited") {
                return ended;
            }
            if begun.elapsed() > within {
                let _ = child.kill();
                panic!("{service} {number} never ended:\n{}", self.read_log(service, number));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// kill -9.
    pub fn kill(&mut self, service: &str, number: usize) {
        if let Some(mut child) = self.process(service, number).child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// Sends a signal, such as STOP.
    pub fn signal(&mut self, service: &str, number: usize, signal: &str) {
        let child = self.process(service, number).child.as_ref().expect("it runs");
        crate::signal(child.id(), signal);
    }

    /// SIGTERM; answers how it ended.
    pub fn terminate(&mut self, service: &str, number: usize) -> Option<i32> {
        self.signal(service, number, "TERM");
        let mut child = self.process(service, number).child.take().expect("it runs");
        child.wait().expect("ended").code()
    }

    pub fn log(&self, service: &str, number: usize) -> std::path::PathBuf {
        self.path(&format!("{service}-{number}.log"))
    }

    pub fn read_log(&self, service: &str, number: usize) -> String {
        fs::read_to_string(self.log(service, number)).unwrap_or_default()
    }

    /// What one process tells Prometheus.
    pub fn metrics(&mut self, service: &str, number: usize) -> String {
        let at = self.process(service, number).operations;
        http(at, "GET", "/metrics", "").expect("it answers").1
    }

    /// The most memory that the process has had, in KiB.
    pub fn peak_memory(&self, service: &str, number: usize) -> Option<u64> {
        let process = self.processes.get(&(service.to_owned(), number))?;
        let status = format!("/proc/{}/status", process.child.as_ref()?.id());
        let status = fs::read_to_string(status).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// A plain HTTP request to the one address, such as an unsubscribe link's path.
    pub fn http(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let at = self.url.trim_start_matches("http://").parse().expect("an address");
        http(at, method, path, form).expect("it answers")
    }

    /// Runs what needs a runtime, such as asking RabbitMQ for something.
    pub fn wait<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }
}

impl Deref for Stack {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl AsRef<Cli> for Stack {
    fn as_ref(&self) -> &Cli {
        &self.cli
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            if let Some(mut child) = process.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

async fn create_databases() -> String {
    let prefix = format!("stack_{}", Uuid::new_v4().simple());
    let mut url = String::new();
    for service in SERVICES {
        let name = format!("{prefix}_{}", service.replace('-', "_"));
        let created = carillon_testkit::create_postgres_named(&name).await;
        url = created.replace(&name, &format!("{prefix}_{{service}}"));
    }
    url
}

/// A port that nobody listens on and no other stack was given. It lies below those that the system
/// gives to connections and those of `scripts/servers`, for it must still be free when the process
/// starts, and when it starts again.
fn free() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let ports = std::iter::repeat_with(|| rand::rng().random_range(10_000..20_000));
    let bound = ports.take(1_000).find_map(|port| {
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        is_new.then(|| listener.local_addr().ok())?
    });
    bound.expect("a free port")
}

/// HTTP/1.1 by hand: the status and the body, if somebody answers.
fn http(at: SocketAddr, method: &str, path: &str, form: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Some((status, body))
}
