//! An SMSC whose SMPP nobody here wrote: npm's `smpp`, told what to do by `simulator.js`.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
};

/// Told to do something; ends with this value.
pub struct Smsc {
    url: String,
    heard: Arc<Heard>,
    orders: tokio::sync::Mutex<ChildStdin>,
    _process: Child,
}

/// What the simulator told, in its order.
struct Heard {
    events: Mutex<Vec<Value>>,
    done: watch::Sender<usize>,
}

/// A part of a message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub id: String,
    pub session: u64,
    pub to: String,
    pub from: String,
    /// As the simulator's own alphabets read it.
    pub text: String,
    /// The user data's header, without its length.
    pub header: Option<String>,
    /// The whole user data, in hexadecimal digits.
    pub octets: String,
    /// All that was told of it.
    pub fields: Value,
}

impl Smsc {
    pub async fn start() -> io::Result<Self> {
        Self::started("smpp", &[]).await
    }

    /// By TLS, with a certificate and its key in PEM files.
    pub async fn start_tls(certificate: &Path, key: &Path) -> io::Result<Self> {
        Self::started("smpps", &[certificate, key]).await
    }

    async fn started(scheme: &str, arguments: &[&Path]) -> io::Result<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/smpp-simulator");
        let mut process = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().expect("piped");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let first = lines.next_line().await?.ok_or_else(|| {
            io::Error::other(
                "scripts/smpp-simulator ended before it listened; see its errors above",
            )
        })?;
        let first: Value = serde_json::from_str(&first)?;
        let heard = Arc::new(Heard { events: Mutex::default(), done: watch::Sender::new(0) });
        tokio::spawn(hear(lines, Arc::clone(&heard)));
        Ok(Self {
            url: format!("{scheme}://127.0.0.1:{}", first["port"]),
            heard,
            orders: tokio::sync::Mutex::new(orders),
            _process: process,
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when it is in force.
    pub async fn order(&self, order: Value) {
        let mut orders = self.orders.lock().await;
        let before = *self.heard.done.borrow();
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("the simulator listens");
        let mut done = self.heard.done.subscribe();
        done.wait_for(|done| *done > before).await.expect("the simulator obeys");
    }

    /// What the next submits meet, one each.
    pub async fn next(&self, behaviours: impl IntoIterator<Item = Value>) {
        self.order(json!({ "next": behaviours.into_iter().collect::<Vec<_>>() })).await;
    }

    pub fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.heard.events();
        events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// What was taken, in the order it came.
    pub fn taken(&self) -> Vec<Part> {
        self.events("taken").into_iter().map(Part::of).collect()
    }
}

impl Heard {
    fn events(&self) -> MutexGuard<'_, Vec<Value>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn of(fields: Value) -> Self {
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            session: fields["session"].as_u64().unwrap_or_default(),
            to: text("to"),
            from: text("from"),
            text: text("text"),
            header: fields["header"].as_str().map(str::to_owned),
            octets: text("octets"),
            fields: fields.clone(),
        }
    }
}

async fn hear(mut lines: Lines<BufReader<ChildStdout>>, heard: Arc<Heard>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        if event["event"] == "done" {
            heard.done.send_modify(|done| *done += 1);
        } else {
            heard.events().push(event);
        }
    }
}
