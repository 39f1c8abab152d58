//! A provider of SMS that does as it is told: it takes messages as Twilio does
//! (`/2010-04-01/Accounts/…/Messages.json`) and as a plain JSON gateway does (any other path),
//! remembers every message that it took, and can answer late, wrongly, half or never.

mod callback;
mod http;
mod keys;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use crate::{certificates::Identity, gate::Gate};
pub use callback::{Poster, signature, twilio_form};
pub use http::Request;
use http::{Reader, answer};
use keys::Keys;

/// What is done with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes the message and says so.
    Accept,
    /// Does not take it, and answers this.
    Answer { status: u16, retry_after: Option<u64>, body: String },
    /// Takes it, and answers a success whose body is this.
    AcceptSaying(String),
    /// Takes it, and says that it has so many parts.
    AcceptCounting(u32),
    /// Takes it and closes the connection without an answer.
    AcceptAndClose,
    /// Takes it and closes after the headers of a success.
    AcceptAndCut,
    /// Takes it and never answers.
    AcceptAndHang,
    /// Does not take it, and closes.
    Close,
    /// Takes it, answers, and then closes the connection without having said so.
    AcceptThenClose,
    /// Takes it, and answers a byte at a time, with so long before each.
    AcceptSlowly(Duration),
    /// Takes it, reports these statuses, all at once, and answers when they were heard and so long
    /// is over.
    AcceptAfterReceipts(Vec<String>, Duration),
}

/// What is done with a request for this number, of whose message it is the first, the second, ….
type Rule = Box<dyn Fn(&str, usize) -> Behaviour + Send + Sync>;

/// How a sink is set up.
#[derive(Clone, Default)]
pub struct Options {
    /// 127.0.0.1 and any port where absent.
    pub listen: Option<SocketAddr>,
    /// Speaks TLS, as this server.
    pub tls: Option<Identity>,
    /// Basic auth as `account:token`; whoever comes without it gets 401.
    pub login: Option<(String, String)>,
    /// Takes so long before each answer, until it is set otherwise.
    pub latency: Duration,
    /// Statuses reported for each message to the callback URL that came with it.
    pub receipts: Vec<String>,
    /// A plain gateway's header under which the same value is taken once only.
    pub idempotency_header: Option<String>,
    /// Whether only counts are kept, for runs of millions.
    pub counts_only: bool,
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub message_id: String,
    pub request: Request,
}

pub struct SmsSink {
    address: SocketAddr,
    gate: Arc<Gate>,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    options: Options,
    latency: Mutex<Duration>,
    script: Mutex<Script>,
    taken: Mutex<HashMap<String, Vec<Request>>>,
    total: AtomicU64,
    last_taken: Mutex<Option<Instant>>,
    last_request: Mutex<Option<Instant>>,
    /// When each message was asked for, as long as a rule holds.
    asked: Mutex<HashMap<String, Vec<Instant>>>,
    keys: Mutex<Keys>,
    requests: AtomicU64,
    connections: AtomicU64,
    /// Connections that the client ended, and those that it went on with, before it had the whole
    /// answer.
    given_up: AtomicU64,
    reused: AtomicU64,
    /// Told to close every connection.
    cut: Notify,
    receipts: callback::Receipts,
}

struct Script {
    next: VecDeque<Behaviour>,
    rule: Option<Rule>,
    otherwise: Behaviour,
}

impl SmsSink {
    pub async fn start(options: Options) -> io::Result<Self> {
        let listen = options.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let script = Script { next: VecDeque::new(), rule: None, otherwise: Behaviour::Accept };
        let token = options.login.as_ref().map(|(_, token)| token.clone()).unwrap_or_default();
        let state = Arc::new(State {
            receipts: callback::Receipts::new(token),
            latency: Mutex::new(options.latency),
            options,
            script: Mutex::new(script),
            taken: Mutex::default(),
            total: AtomicU64::new(0),
            last_taken: Mutex::default(),
            last_request: Mutex::default(),
            asked: Mutex::default(),
            keys: Mutex::default(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            cut: Notify::new(),
        });
        let gate = Arc::new(Gate::new(listener));
        let listening = tokio::spawn(listen_on(Arc::clone(&gate), Arc::clone(&state)));
        Ok(Self { address, gate, state, listening })
    }

    pub fn url(&self) -> String {
        let scheme = if self.state.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the next requests meet, one each, before `otherwise` holds again.
    pub fn next(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        locked(&self.state.script).next.extend(behaviours);
    }

    /// What all requests meet from now on.
    pub fn otherwise(&self, behaviour: Behaviour) {
        locked(&self.state.script).otherwise = behaviour;
    }

    /// What each request meets from now on, by the number that it is for, and whether it is its
    /// message's first, second, ….
    pub fn by_rule(&self, rule: impl Fn(&str, usize) -> Behaviour + Send + Sync + 'static) {
        locked(&self.state.script).rule = Some(Box::new(rule));
    }

    /// Out of reach, new connections are neither taken nor refused.
    pub fn set_reachable(&self, reachable: bool) {
        let set = if reachable { self.gate.open() } else { self.gate.shut() };
        set.expect("a listener");
    }

    /// Before each answer from now on.
    pub fn set_latency(&self, latency: Duration) {
        *locked(&self.state.latency) = latency;
    }

    /// How often each message was taken.
    pub fn taken(&self) -> HashMap<String, usize> {
        let taken = locked(&self.state.taken);
        taken.iter().map(|(id, requests)| (id.clone(), requests.len())).collect()
    }

    /// The requests under which a message was taken.
    pub fn requests_of(&self, message_id: &str) -> Vec<Request> {
        locked(&self.state.taken).get(message_id).cloned().unwrap_or_default()
    }

    /// All that was taken, in no order.
    pub fn all(&self) -> Vec<Taken> {
        let taken = locked(&self.state.taken);
        let each = taken.iter().flat_map(|(id, requests)| {
            requests
                .iter()
                .map(|request| Taken { message_id: id.clone(), request: request.clone() })
        });
        each.collect()
    }

    /// Messages taken, those that were taken twice counted twice.
    pub fn total(&self) -> u64 {
        self.state.total.load(Ordering::Relaxed)
    }

    /// When the last message was taken.
    pub fn last_taken(&self) -> Option<Instant> {
        *locked(&self.state.last_taken)
    }

    /// When the last request came.
    pub fn last_request(&self) -> Option<Instant> {
        *locked(&self.state.last_request)
    }

    /// When each message was asked for, since there is a rule.
    pub fn asked(&self) -> HashMap<String, Vec<Instant>> {
        locked(&self.state.asked).clone()
    }

    /// Of each message, the idempotency key of every call that had one.
    pub fn keys(&self) -> HashMap<String, Vec<String>> {
        locked(&self.state.keys).of_calls()
    }

    /// Calls that would have been taken, had nothing been taken under their key before.
    pub fn taken_before(&self) -> usize {
        locked(&self.state.keys).again()
    }

    /// Requests read whole, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Connections ever made.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Connections that the client ended while an answer was missing.
    pub fn given_up(&self) -> u64 {
        self.state.given_up.load(Ordering::Relaxed)
    }

    /// Connections on which the client went on while an answer was missing.
    pub fn reused(&self) -> u64 {
        self.state.reused.load(Ordering::Relaxed)
    }

    /// Receipts that were answered with a success, and those that were not.
    pub fn receipts(&self) -> (u64, u64) {
        self.state.receipts.counts()
    }

    /// Closes all connections that wait for a request.
    pub fn cut_idle(&self) {
        self.state.cut.notify_waiters();
    }
}

impl Drop for SmsSink {
    fn drop(&mut self) {
        self.listening.abort();
        self.state.cut.notify_waiters();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen_on(gate: Arc<Gate>, state: Arc<State>) {
    while let Ok(stream) = gate.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A peer that goes away is its own matter.
            let _ = greet(stream, &state).await;
        });
    }
}

async fn greet(stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match &state.options.tls {
        Some(identity) => serve(identity.acceptor.accept(stream).await?, state).await,
        None => serve(stream, state).await,
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> io::Result<()> {
    let mut reader = Reader::default();
    loop {
        let request = tokio::select! {
            request = reader.next(&mut stream) => request?,
            () = state.cut.notified() => return Ok(()),
        };
        let Some(request) = request else { return Ok(()) };
        state.requests.fetch_add(1, Ordering::Relaxed);
        *locked(&state.last_request) = Some(Instant::now());
        state.note_key(&request);
        let behaviour = state.behaviour(&request);
        let latency = *locked(&state.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match behaviour {
            Behaviour::Answer { status, retry_after, body } => {
                stream.write_all(&answer(status, retry_after, &body)).await?;
            }
            Behaviour::Close => return Ok(()),
            Behaviour::AcceptAndClose => {
                state.take(request);
                return Ok(());
            }
            Behaviour::AcceptAndHang => {
                state.take(request);
                tokio::select! {
                    () = state.left_waiting(&mut stream) => {}
                    () = state.cut.notified() => {}
                }
                return Ok(());
            }
            Behaviour::AcceptAndCut => {
                state.take(request);
                let whole = answer(201, None, r#"{"sid":"SM1"}"#);
                return stream.write_all(&whole[..whole.len() - 13]).await;
            }
            Behaviour::AcceptSaying(body) => {
                state.take(request);
                stream.write_all(&answer(201, None, &body)).await?;
            }
            Behaviour::AcceptSlowly(pause) => {
                for byte in state.accept(request, None) {
                    tokio::select! {
                        () = state.left_waiting(&mut stream) => return Ok(()),
                        () = tokio::time::sleep(pause) => stream.write_all(&[byte]).await?,
                    }
                }
            }
            Behaviour::AcceptAfterReceipts(statuses, pause) => {
                let url = request.callback_url().unwrap_or_default();
                let sid = format!("SM{}", request.message_id().unwrap_or_default());
                let said = state.accept(request, None);
                state.receipts.tell(&url, &sid, statuses).await;
                tokio::time::sleep(pause).await;
                stream.write_all(&said).await?;
            }
            Behaviour::AcceptCounting(parts) => {
                stream.write_all(&state.accept(request, Some(parts))).await?;
            }
            behaviour @ (Behaviour::Accept | Behaviour::AcceptThenClose) => {
                let said = state.accept(request, None);
                stream.write_all(&said).await?;
                if behaviour == Behaviour::AcceptThenClose {
                    return Ok(());
                }
            }
        }
    }
}

impl State {
    fn behaviour(&self, request: &Request) -> Behaviour {
        if let Some((account, token)) = &self.options.login
            && request.login().as_ref() != Some(&(account.clone(), token.clone()))
        {
            let body = r#"{"code":20003,"message":"Authenticate","status":401}"#.to_owned();
            return Behaviour::Answer { status: 401, retry_after: None, body };
        }
        let mut script = locked(&self.script);
        if let Some(next) = script.next.pop_front() {
            return next;
        }
        let Some(rule) = &script.rule else { return script.otherwise.clone() };
        let mut asked = locked(&self.asked);
        let times = asked.entry(request.message_id().unwrap_or_default()).or_default();
        times.push(Instant::now());
        rule(&request.to().unwrap_or_default(), times.len())
    }

    /// Whoever waits for an answer says nothing: it ends the connection, or wrongly goes on with it.
    async fn left_waiting(&self, stream: &mut (impl AsyncRead + Unpin)) {
        let more = stream.read(&mut [0]).await;
        let counter = if more.is_ok_and(|count| count > 0) { &self.reused } else { &self.given_up };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn key_of<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.header(self.options.idempotency_header.as_ref()?)
    }

    fn note_key(&self, request: &Request) {
        if let (Some(message), Some(key)) = (request.message_id(), self.key_of(request)) {
            locked(&self.keys).called(message, key.to_owned());
        }
    }

    /// Remembers the message; None where it has no id, and is only counted.
    fn take(&self, request: Request) -> Option<String> {
        let Some(id) = request.message_id() else {
            self.count();
            return None;
        };
        let callback = request.callback_url();
        let before = self.key_of(&request).and_then(|key| locked(&self.keys).take(&id, key));
        if before.is_some() {
            return before;
        }
        self.count();
        let kept = if self.options.counts_only { Request::default() } else { request };
        locked(&self.taken).entry(id.clone()).or_default().push(kept);
        if let Some(url) = callback {
            self.receipts.send(url, format!("SM{id}"), self.options.receipts.clone());
        }
        Some(id)
    }

    fn count(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_taken) = Some(Instant::now());
    }

    /// Twilio writes its count as text, a plain gateway as a number.
    fn accept(&self, request: Request, parts: Option<u32>) -> Vec<u8> {
        let twilio = request.is_twilio();
        let counted = parts.map(|parts| match twilio {
            true => format!(r#","num_segments":"{parts}""#),
            false => format!(r#","parts":{parts}"#),
        });
        let counted = counted.unwrap_or_default();
        match self.take(request) {
            Some(id) if twilio => answer(
                201,
                None,
                &format!(r#"{{"sid":"SM{id}","status":"queued","error_code":null{counted}}}"#),
            ),
            Some(id) => {
                answer(200, None, &format!(r#"{{"id":"{id}","status":"accepted"{counted}}}"#))
            }
            None => answer(400, None, r#"{"code":"no_message_id"}"#),
        }
    }
}
