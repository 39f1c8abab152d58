//! An SMTP server (RFC 5321) that accepts, counts, and misbehaves as it is told.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{certificates::Identity, gate::Gate, session};

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
    /// Connections hold some 40 KB on their way, so that whoever sends more in one mail notices when
    /// nobody reads it.
    pub narrow: bool,
    /// Until they are set otherwise.
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
            narrow: false,
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
    /// Of those times one in so many.
    pub every: usize,
    /// Once only for each recipient.
    pub once: bool,
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
    /// Says what it should, a byte at a time, with so long before each: so slowly that nobody waits
    /// for the end. Not within a mail.
    Slowly(Duration),
}

impl Fault {
    /// Every time.
    pub fn always(at: Stage, what: What) -> Self {
        Self { at, what, after: 0, times: usize::MAX, every: 1, once: false, to: None }
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
    pub fn one_in(self, every: usize) -> Self {
        Self { every, ..self }
    }

    #[must_use]
    pub fn once_each(self) -> Self {
        Self { once: true, ..self }
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

/// A mail, by its Message-ID.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Accepted {
    pub times: usize,
    /// When its MAIL FROM came, the last time.
    pub begun: Option<Instant>,
}

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub accepted: HashMap<String, Accepted>,
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
    /// Whom each fault met that meets a recipient once.
    pub once: HashSet<(usize, String)>,
    /// Recipients with whose mails something went wrong, by how far they had come.
    pub struck: Vec<(Stage, String)>,
    /// Mails that came by a connection on which something had gone wrong before: at RCPT, without a
    /// RSET since.
    pub reused: usize,
    /// When the last connection was made.
    pub last_connected: Option<Instant>,
    /// Commands without their arguments, in order.
    pub verbs: Vec<String>,
}

pub(crate) struct State {
    pub behaviour: Behaviour,
    latency: Mutex<Duration>,
    faults: Mutex<Vec<Fault>>,
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
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, fault) in faults.iter().enumerate() {
            let meant = fault.to.as_ref().is_none_or(|part| to.contains(part.as_str()));
            if fault.at != at || !meant {
                continue;
            }
            let mut seen = self.seen();
            if fault.once && !seen.once.insert((index, to.to_owned())) {
                continue;
            }
            let met = seen.met.entry(index).or_default();
            *met += 1;
            let turn = met.saturating_sub(fault.after);
            if turn > 0 && turn <= fault.times && turn.is_multiple_of(fault.every) {
                seen.struck.push((at, to.to_owned()));
                return Some(fault.what.clone());
            }
        }
        None
    }
}

/// The server; it goes when this is dropped.
pub struct SmtpSink {
    address: SocketAddr,
    gate: Arc<Gate>,
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
        if behaviour.narrow {
            let socket = SockRef::from(&listener);
            socket.set_recv_buffer_size(2_048)?;
            // The other side's buffer follows from it.
            socket.set_tcp_mss(536)?;
        }
        let address = listener.local_addr()?;
        let latency = Mutex::new(behaviour.latency);
        let faults = Mutex::new(behaviour.faults.clone());
        let state = Arc::new(State { behaviour, latency, faults, seen: Mutex::default() });
        let gate = Arc::new(Gate::new(listener));
        let serving = tokio::spawn(serve(Arc::clone(&gate), Arc::clone(&state)));
        Ok(Self { address, gate, state, serving })
    }

    /// Before every reply to a final dot from now on.
    pub fn set_latency(&self, latency: Duration) {
        *self.state.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    /// Out of reach, new connections are neither taken nor refused.
    pub fn set_reachable(&self, reachable: bool) {
        let set = if reachable { self.gate.open() } else { self.gate.shut() };
        set.expect("a listener");
    }

    /// What goes wrong from now on, counted anew.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        let mut known = self.state.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = self.state.seen();
        seen.met.clear();
        seen.once.clear();
        *known = faults;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often each Message-ID was accepted.
    pub fn accepted(&self) -> HashMap<String, usize> {
        let seen = self.state.seen();
        seen.accepted.iter().map(|(id, mail)| (id.clone(), mail.times)).collect()
    }

    /// When each mail that was accepted was begun, the last time, by its Message-ID.
    pub fn accepted_begun(&self) -> HashMap<String, Instant> {
        let seen = self.state.seen();
        seen.accepted.iter().filter_map(|(id, mail)| Some((id.clone(), mail.begun?))).collect()
    }

    /// Mails accepted, whatever their ids.
    pub fn count(&self) -> usize {
        self.state.seen().accepted.values().map(|mail| mail.times).sum()
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

    /// The recipients with whose mails something went wrong at this stage, as often as it did.
    pub fn struck(&self, at: Stage) -> Vec<String> {
        let seen = self.state.seen();
        let there = seen.struck.iter().filter(|(stage, _)| *stage == at);
        there.map(|(_, to)| to.clone()).collect()
    }

    /// Mails that came by a connection on which something had gone wrong before. A refused recipient
    /// is the recipient's fault, whether for good (550) or for now (450): after a RSET the connection
    /// may go on.
    pub fn reused(&self) -> usize {
        self.state.seen().reused
    }

    /// When the last connection was made.
    pub fn last_connected(&self) -> Option<Instant> {
        self.state.seen().last_connected
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

async fn serve(gate: Arc<Gate>, state: Arc<State>) {
    // A set ends its tasks when it goes, and the server with them.
    let mut sessions = tokio::task::JoinSet::new();
    while let Ok(stream) = gate.accept().await {
        while sessions.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let number = {
            let mut seen = state.seen();
            seen.connections += 1;
            seen.last_connected = Some(Instant::now());
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
