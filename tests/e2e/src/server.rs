//! A `carillon dev` of its own, killed with the test.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    ops::Deref,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value as Json;

use crate::{
    cli::{Cli, binary},
    signal,
};

/// How long each call of a sandbox takes, in milliseconds; 128 are under way at a time.
pub const LATENCIES: [&str; 2] = [
    "CARILLON__SMS_DISPATCHER__SANDBOX__LATENCY_MS",
    "CARILLON__EMAIL_DISPATCHER__SANDBOX__LATENCY_MS",
];

pub struct Server {
    cli: Cli,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// A running server with one organisation. Settings are `CARILLON__…` variables.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.spawn();
        server.admit();
        server
    }

    /// Makes the organisation whose key the command has.
    pub fn admit(&mut self) {
        self.cli.key = self.new_organisation("Café Carillon", &[]);
    }

    /// A folder of its own, and nothing in it.
    pub fn unstarted(settings: &[(&str, &str)]) -> Self {
        Self {
            cli: Cli::unset(),
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            child: None,
        }
    }

    /// Starts the process on the same folder, and waits until it listens.
    pub fn spawn(&mut self) {
        let printed = BufReader::new(self.begin());
        let url = printed
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("server").map(|url| url.trim().to_owned()));
        self.cli.url = url.unwrap_or_else(|| panic!("no address:\n{}", self.read_log()));
    }

    /// Starts the process, and answers what it prints.
    pub fn begin(&mut self) -> ChildStdout {
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut child = Command::new(binary())
            .args(["dev", "--port", "0", "--data"])
            .arg(self.data())
            .env("CARILLON__LOG__FILTER", "info")
            .envs(self.settings.iter().map(|(k, v)| (k, v)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let printed = child.stdout.take().expect("its output");
        self.child = Some(child);
        printed
    }

    /// A `CARILLON__…` variable, from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// SIGTERM; answers how it ended.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        signal(child.id(), "TERM");
        child.wait().expect("ended").code()
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn log(&self) -> PathBuf {
        self.path("server.log")
    }

    pub fn read_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn platform_key(&self) -> String {
        fs::read_to_string(self.data().join("api-key")).expect("the key").trim().to_owned()
    }

    /// Answers the organisation's key.
    pub fn new_organisation(&self, name: &str, more: &[&str]) -> String {
        self.create_organisation(&self.platform_key(), name, more)
    }

    /// How often the sandbox accepted each message of a channel.
    pub fn accepted(&self, channel: &str) -> BTreeMap<String, u32> {
        let path = self.data().join("outbox").join(format!("{channel}.jsonl"));
        let mut accepted = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let line: Json = serde_json::from_str(line).expect("a whole line");
            let id = line["message_id"].as_str().expect("an id").to_owned();
            *accepted.entry(id).or_default() += 1;
        }
        accepted
    }
}

impl Deref for Server {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl AsRef<Cli> for Server {
    fn as_ref(&self) -> &Cli {
        &self.cli
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
