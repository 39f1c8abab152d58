use std::path::PathBuf;

use carillon_dispatch::sandbox::SandboxConfig;
use serde::Deserialize;

/// What can be set of this service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is a sandbox gateway, and how it misbehaves.
    pub sandbox: SandboxConfig,
    /// Calls to providers.
    pub http: HttpConfig,
    /// Sessions with SMSCs; `http`'s times for connections and answers hold for them, too.
    pub smpp: SmppConfig,
    /// A PEM file of certificates to trust besides the system's, for private authorities.
    pub tls_roots: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Name, connection and TLS together.
    pub connect_timeout_ms: u64,
    /// From the first byte of the request to the last of the answer. Must be shorter than the
    /// grace that a stop gives, or a stop leaves messages in doubt.
    pub timeout_ms: u64,
    /// A connection unused for so long is closed. Must be shorter than what providers' servers
    /// allow, for a request that meets their close half-way is in doubt.
    pub idle_ms: u64,
    /// Connections of this process to one organisation's provider at a time.
    pub connections: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { connect_timeout_ms: 5_000, timeout_ms: 15_000, idle_ms: 1_000, connections: 32 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmppConfig {
    /// After so long without a word an SMSC is asked whether it is there.
    pub enquire_ms: u64,
}

impl Default for SmppConfig {
    fn default() -> Self {
        Self { enquire_ms: 30_000 }
    }
}
