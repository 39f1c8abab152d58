//! An SMTP server (RFC 5321) that accepts, counts, and misbehaves as it is told.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, task::JoinHandle};

use crate::{certificates::Identity, session};

/// How the server behaves. The default is a good one without TLS and authentication.
#[derive(Clone)]
pub struct Behaviour {
    pub tls: Tls,
    /// User and password; what is sent without them is refused.
    pub credentials: Option<(String, String)>,
    /// What AUTH offers.
    pub mechanisms: Vec<&'static str>,
    pub pipelining: bool,
    pub smtputf8: bool,
    /// Before every reply to the final dot, until it is set otherwise.
    pub latency: Duration,
    /// Before the greeting.
    pub greeting: Duration,
    pub faults: Vec<Fault>,
    /// Whether the sources of accepted mails are kept, for tests that read them.
    pub keep: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            tls: Tls::None,
            credentials: None,
            mechanisms: vec!["PLAIN", "LOGIN"],
            pipelining: true,
            smtputf8: true,
            latency: Duration::ZERO,
            greeting: Duration::ZERO,
            faults: Vec::new(),
            keep: true,
        }
    }
}

#[derive(Clone)]
pub enum Tls {
    None,
    Starttls(Identity),
    Implicit(Identity),
}

/// Something that goes wrong, as often as it is told.
#[derive(Debug, Clone)]
pub struct Fault {
    pub at: Stage,
    pub what: What,
    /// Not for the first so many times that the stage is reached.
    pub after: usize,
    /// And then so many times.
    pub times: usize,
    /// Only for recipients that contain this.
    pub to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the greeting.
    Connect,
    Ehlo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// When the first bytes of the mail have come.
    Body,
    /// When the final dot has come.
    Dot,
}

#[derive(Debug, Clone)]
pub enum What {
    /// Answers this line in place of its own; a 421 closes the connection as well.
    Answer(String),
    /// Closes the connection without a word.
    Drop,
    /// Accepts the mail, and closes the connection without a word. At the dot only.
    AcceptAndDrop,
    /// Says nothing any more, but stays.
    Stall,
}

impl Fault {
    /// Every time.
    pub fn always(at: Stage, what: What) -> Self {
        Self { at, what, after: 0, times: usize::MAX, to: None }
    }

    pub fn answer(at: Stage, line: &str) -> Self {
        Self::always(at, What::Answer(line.to_owned()))
    }

    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    #[must_use]
    pub fn to(self, part: &str) -> Self {
        Self { to: Some(part.to_owned()), ..self }
    }
}

/// A mail that was accepted.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Which connection brought it, from 1.
    pub connection: usize,
    /// MAIL FROM with its parameters, as it came.
    pub from: String,
    pub to: String,
    /// Without the dots that the transport added.
    pub source: Vec<u8>,
}

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub accepted: HashMap<String, usize>,
    pub mails: Vec<Mail>,
    /// When each MAIL FROM came.
    pub begun: Vec<Instant>,
    /// When the last mail was accepted.
    pub last_accepted: Option<Instant>,
    pub connections: usize,
    pub open: usize,
    pub most_open: usize,
    pub dots: usize,
    /// Transactions whose MAIL, RCPT and DATA came at once.
    pub pipelined: usize,
    /// How often each stage was reached while faults were looked for.
    pub met: HashMap<usize, usize>,
    /// Commands without their arguments, in order.
    pub verbs: Vec<String>,
}

pub(crate) struct State {
    pub behaviour: Behaviour,
    latency: Mutex<Duration>,
    seen: Mutex<Seen>,
}

impl State {
    pub(crate) fn latency(&self) -> Duration {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong here, if anything does. Counts the times.
    pub(crate) fn fault(&self, at: Stage, to: &str) -> Option<What> {
        for (index, fault) in self.behaviour.faults.iter().enumerate() {
            let meant = fault.to.as_ref().is_none_or(|part| to.contains(part.as_str()));
            if fault.at != at || !meant {
                continue;
            }
            let mut seen = self.seen();
            let met = seen.met.entry(index).or_default();
            *met += 1;
            if *met > fault.after && *met - fault.after <= fault.times {
                return Some(fault.what.clone());
            }
        }
        None
    }
}

/// The server; it goes when this is dropped.
pub struct SmtpSink {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl SmtpSink {
    /// On a free port of this machine.
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::listen("127.0.0.1:0", behaviour).await.expect("a free port")
    }

    pub async fn listen(address: &str, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let latency = Mutex::new(behaviour.latency);
        let state = Arc::new(State { behaviour, latency, seen: Mutex::default() });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, serving })
    }

    /// Before every reply to a final dot from now on.
    pub fn set_latency(&self, latency: Duration) {
        *self.state.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often each Message-ID was accepted.
    pub fn accepted(&self) -> HashMap<String, usize> {
        self.state.seen().accepted.clone()
    }

    /// Mails accepted, whatever their ids.
    pub fn count(&self) -> usize {
        self.state.seen().accepted.values().sum()
    }

    /// When each mail was begun, in order.
    pub fn begun(&self) -> Vec<Instant> {
        self.state.seen().begun.clone()
    }

    /// When the last mail was accepted.
    pub fn last_accepted(&self) -> Option<Instant> {
        self.state.seen().last_accepted
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.state.seen().mails.clone()
    }

    /// Connections ever made.
    pub fn connections(&self) -> usize {
        self.state.seen().connections
    }

    /// Connections that were open at once, at most.
    pub fn most_open(&self) -> usize {
        self.state.seen().most_open
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.state.seen().open
    }

    /// Final dots that arrived, accepted or not.
    pub fn dots(&self) -> usize {
        self.state.seen().dots
    }

    /// How often something went wrong, or would have, had it been its turn.
    pub fn met(&self) -> usize {
        self.state.seen().met.values().sum()
    }

    pub fn pipelined(&self) -> usize {
        self.state.seen().pipelined
    }

    pub fn verbs(&self) -> Vec<String> {
        self.state.seen().verbs.clone()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // A set ends its tasks when it goes, and the server with them.
    let mut sessions = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while sessions.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let number = {
            let mut seen = state.seen();
            seen.connections += 1;
            seen.open += 1;
            seen.most_open = seen.most_open.max(seen.open);
            seen.connections
        };
        let state = Arc::clone(&state);
        sessions.spawn(async move {
            // A client that goes away is the client's affair.
            let _ = session::run(stream, number, &state).await;
            state.seen().open -= 1;
        });
    }
}
