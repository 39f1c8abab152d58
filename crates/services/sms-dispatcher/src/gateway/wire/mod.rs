//! The way to a provider: connections, and HTTP/1.1 on them. It knows of every request whether any
//! of it left: what did not may be tried again, and what did is never written twice. No redirects,
//! no proxy.

mod connection;
mod stream;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use carillon_dispatch::Clearance;
use carillon_http_gateway::Origin;
use carillon_service_kit::egress::{Egress, EgressError};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use connection::Connection;
pub(crate) use stream::{Dialled, Stream};

use crate::config::HttpConfig;

/// An answer is read up to here; none that says anything is longer.
const ANSWER_BYTES: usize = 64 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;

/// What all calls share.
pub(crate) struct Wire {
    egress: Egress,
    tls: TlsConnector,
    config: HttpConfig,
    patience: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("tls_roots: '{path}' is not a file of PEM certificates: {why}; correct it or leave it out")]
pub struct RootsError {
    path: PathBuf,
    why: String,
}

/// A whole answer, or one whose body broke off: its status is definite all the same.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
}

/// A call without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may not begin any more.
    NotBegun,
    /// Not a byte left.
    Unsent(&'static str),
    /// Some of it left, and perhaps all.
    InDoubt(&'static str),
}

impl Wire {
    /// For a process whose stops may take `grace`.
    pub(crate) fn new(
        egress: Egress,
        roots: RootCertStore,
        config: HttpConfig,
        grace: Option<Duration>,
    ) -> Self {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let patience = config.timeout(grace);
        Self { egress, tls: TlsConnector::from(Arc::new(tls)), config, patience }
    }

    /// The certificate authorities that the system trusts, and those of a PEM file.
    pub(crate) fn roots(more: Option<&Path>) -> Result<RootCertStore, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if let Some(path) = more {
            let wrong = |why: String| RootsError { path: path.to_owned(), why };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        if roots.is_empty() {
            let errors = found.errors;
            tracing::warn!(?errors, "no certificate authorities: no https gateway can be reached");
        }
        Ok(roots)
    }

    pub(crate) fn connections(&self) -> usize {
        self.config.connections
    }

    /// How long a call may take once it is written.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// How long it may take to be connected.
    pub(crate) fn connect_patience(&self) -> Duration {
        Duration::from_millis(self.config.connect_timeout_ms)
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, Failure> {
        let dialled = self.dial(origin).await?;
        Connection::over(dialled).await.map_err(|_| Failure::Unsent("connect_failed"))
    }

    /// A connection to the first of the server's addresses that takes it, of those that may be
    /// reached.
    pub(crate) async fn dial(&self, origin: &Origin) -> Result<Dialled, Failure> {
        let until = Instant::now() + self.connect_patience();
        let addresses = match timeout_at(until, self.egress.resolve(&origin.host, origin.port))
            .await
        {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(EgressError::Refused { .. })) => return Err(Failure::Unsent("address_refused")),
            Ok(Err(EgressError::NameNotFound { .. })) => {
                return Err(Failure::Unsent("name_not_found"));
            }
            Err(_) => return Err(Failure::Unsent("name_timeout")),
        };
        let mut failure = Failure::Unsent("connect_timeout");
        let tried = addresses.len().min(ADDRESSES);
        for (at, address) in addresses.into_iter().take(tried).enumerate() {
            let share = until.saturating_duration_since(Instant::now()) / share_of(tried - at);
            let tls = origin.tls.as_ref().map(|name| (&self.tls, name));
            match tokio::time::timeout(share, stream::dial(address, tls)).await {
                Ok(Ok(dialled)) => return Ok(dialled),
                Ok(Err(error)) => failure = Failure::Unsent(code_of(&error)),
                Err(_) => failure = Failure::Unsent("connect_timeout"),
            }
        }
        Err(failure)
    }
}

fn share_of(left: usize) -> u32 {
    u32::try_from(left.max(1)).unwrap_or(1)
}

fn code_of(error: &io::Error) -> &'static str {
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    match error.kind() {
        _ if tls => "tls_failed",
        io::ErrorKind::ConnectionRefused => "connect_refused",
        _ => "connect_failed",
    }
}

/// A server and the connections to it that are free.
pub(crate) struct Endpoint {
    wire: Arc<Wire>,
    origin: Origin,
    /// The one used last stands last and is used first, so that the others age.
    idle: Mutex<Vec<Connection>>,
}

impl Endpoint {
    pub(crate) fn new(wire: Arc<Wire>, origin: Origin) -> Self {
        Self { wire, origin, idle: Mutex::default() }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Writes the request once, if it is cleared when a connection is there. A connection that turns
    /// out to be closed before anything was written gives way to another.
    pub(crate) async fn call(
        &self,
        request: &Request<Full<Bytes>>,
        clearance: &Clearance,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + self.wire.patience();
        loop {
            let (mut connection, reused) = match self.take() {
                Some(connection) => (connection, true),
                None => tokio::select! {
                    biased;
                    connected = self.wire.connect(&self.origin) => (connected?, false),
                    () = clearance.broken_off(|| false) => return Err(Failure::NotBegun),
                },
            };
            if reused && !connection.is_open().await {
                continue;
            }
            if !clearance.holds() {
                self.keep(connection);
                return Err(Failure::NotBegun);
            }
            let written = connection.written();
            let exchanged = tokio::select! {
                biased;
                exchanged = timeout_at(until, connection.exchange(request.clone())) => exchanged.ok(),
                () = clearance.broken_off(|| written.load(Ordering::Relaxed)) => None,
            };
            let code = match exchanged {
                Some(Ok(answer)) => {
                    if answer.body.is_some() && connection.is_open().await {
                        self.keep(connection);
                    }
                    return Ok(answer);
                }
                Some(Err(error)) if error.is_parse() => "answer_invalid",
                Some(Err(_)) => "closed_without_answer",
                None => "answer_timeout",
            };
            if written.load(Ordering::Relaxed) {
                return Err(Failure::InDoubt(code));
            }
            if !clearance.holds() {
                return Err(Failure::NotBegun);
            }
            if !reused || Instant::now() >= until {
                return Err(Failure::Unsent(code));
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().filter(|connection| !self.is_old(connection))
    }

    fn keep(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Closes what nobody used for a while: servers close idle connections too, and a request that
    /// meets such a close half-way would be in doubt.
    pub(crate) fn tidy(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !self.is_old(connection));
    }

    fn is_old(&self, connection: &Connection) -> bool {
        connection.idle_since.elapsed() >= Duration::from_millis(self.wire.config.idle_ms)
    }
}

#[cfg(test)]
mod tests;
