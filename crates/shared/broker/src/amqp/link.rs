//! One connection that comes back: whatever breaks it, it is dropped and made again, for ever.

use std::{
    net::{Shutdown, TcpStream},
    os::fd::AsFd as _,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, tcp::AMQPUriTcpExt as _,
    uri::AMQPUri,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{address::Address, declare};
use crate::Unavailable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A fresh virtual host takes a while to make its queues.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection that is being made again.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that held this long ends a row of failures.
const STEADY_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// RabbitMQ holds back a connection that publishes while it is short of memory or disk. Were
    /// acks behind it, nothing would ever drain; so publishers have a connection of their own.
    Publish,
    /// Everything else; declares the topology.
    Work,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Work => "work",
        }
    }
}

pub(super) struct Link {
    live: watch::Receiver<Option<Arc<Live>>>,
    supervisor: JoinHandle<()>,
}

/// A connection that stands, as far as is known.
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
}

impl Link {
    pub(super) fn start(address: Address, name: &str, role: Role) -> Self {
        let (said, live) = watch::channel(None);
        let supervisor =
            Supervisor { address, name: format!("{name} {}", role.word()), role, said };
        Self { live, supervisor: tokio::spawn(supervisor.run()) }
    }

    pub(super) fn is_up(&self) -> bool {
        self.live.borrow().is_some()
    }

    /// The connection, waiting a little for one.
    pub(super) async fn live(&self) -> Result<Arc<Live>, Unavailable> {
        let mut live = self.live.clone();
        let up = timeout(PATIENCE, live.wait_for(Option::is_some)).await;
        match up {
            Ok(Ok(live)) => live.clone().ok_or_else(gone),
            _ => Err(gone()),
        }
    }

    pub(super) async fn channel(&self) -> Result<Channel, Unavailable> {
        self.live().await?.channel().await.map_err(unavailable)
    }

    /// Says good-bye to the broker; there is no other connection after that.
    pub(super) async fn close(&self) {
        let live = self.live.borrow().clone();
        self.supervisor.abort();
        if let Some(live) = live {
            live.close().await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Live {
    /// A connection that has none to give is ended, and so made again: lapin does not take back the
    /// number of a channel that the broker closed, and after 2,047 channels it comes to those.
    pub(super) async fn channel(&self) -> lapin::Result<Channel> {
        let channel = self.connection.create_channel().await;
        if channel.is_err() {
            self.socket.shut();
        }
        channel
    }

    /// The broker takes no publication for now; lapin would keep them all in memory.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    async fn close(&self) {
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await;
        self.socket.shut();
    }

    async fn lost(&self) {
        let mut events = pin!(self.connection.events_listener());
        while self.connection.status().connected() {
            // Not every end is an event.
            if let Ok(None) = timeout(Duration::from_secs(1), events.next()).await {
                return;
            }
        }
    }
}

fn gone() -> Unavailable {
    Unavailable("there is no connection; it is being made again".into())
}

pub(super) fn unavailable(error: lapin::Error) -> Unavailable {
    Unavailable(error.to_string())
}

struct Supervisor {
    address: Address,
    name: String,
    role: Role,
    said: watch::Sender<Option<Arc<Live>>>,
}

impl Supervisor {
    async fn run(self) {
        let mut failures: u32 = 0;
        loop {
            match self.connect().await {
                Ok(live) => {
                    tracing::info!(connection = self.name, "connected to the broker");
                    let since = std::time::Instant::now();
                    let live = Arc::new(live);
                    self.said.send_replace(Some(Arc::clone(&live)));
                    live.lost().await;
                    self.said.send_replace(None);
                    live.close().await;
                    failures = if since.elapsed() >= STEADY_AFTER { 0 } else { failures + 1 };
                    tracing::warn!(connection = self.name, "connection to the broker lost");
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // A long absence is not worth a line every five seconds.
                    if failures.is_power_of_two() {
                        tracing::warn!(connection = self.name, failures, %error, "no broker; trying again");
                    }
                }
            }
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn connect(&self) -> Result<Live, Unavailable> {
        let socket = Socket::default();
        let connected = timeout(CONNECT_TIMEOUT, self.handshake(socket.clone())).await;
        let connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(unavailable(error)),
            Err(_) => {
                // Or a thread of lapin's would wait for the answer for ever.
                socket.shut();
                return Err(Unavailable("no answer to the handshake in time".into()));
            }
        };
        let live = Live { connection, socket };
        if self.role == Role::Work {
            let declared = timeout(DECLARE_TIMEOUT, declare::all(&live)).await;
            let error = match declared {
                Ok(Ok(())) => return Ok(live),
                Ok(Err(error)) => unavailable(error),
                Err(_) => Unavailable("the topology was not declared in time".into()),
            };
            live.close().await;
            return Err(error);
        }
        Ok(live)
    }

    async fn handshake(&self, socket: Socket) -> lapin::Result<Connection> {
        let tls = self.address.tls.clone();
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        Connection::connector(
            self.address.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri: AMQPUri, runtime| {
                let connecting = uri.connect_with_config_async(tls.as_ref(), &runtime);
                let stream =
                    timeout(CONNECT_TIMEOUT, connecting).await.map_err(std::io::Error::from)??;
                let descriptor = match &stream {
                    AsyncTcpStream::Plain(plain) => plain.get_ref().as_fd(),
                    AsyncTcpStream::Rustls(tls) => tls.get_ref().0.get_ref().as_fd(),
                    _ => return Ok(stream),
                };
                socket.keep(descriptor.try_clone_to_owned()?.into());
                Ok(stream)
            },
            properties,
        )
        .await
    }
}

/// A second handle on a connection's socket, to end it where its owner does not.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, stream: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    fn shut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Doubles from 0.1 s to 5 s; half of it is chance, so that not all come back at once.
fn pause(failures: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE);
    most.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for failures in [0, 1, 5, 40, u32::MAX] {
            let pause = pause(failures);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{failures}: {pause:?}");
        }
        assert!(pause(40) >= LONGEST_PAUSE / 2);
    }
}
