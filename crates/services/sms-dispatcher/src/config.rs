use std::{path::PathBuf, time::Duration};

use carillon_dispatch::sandbox::SandboxConfig;
use carillon_service_kit::longest_call;
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

impl Config {
    /// Names the first setting that cannot be used where a stop may take `grace`.
    pub fn check(&self, grace: Duration) -> Result<(), String> {
        self.sandbox.check()?;
        let (set, most) = (self.http.timeout_ms, longest_call(grace).as_millis());
        match set.filter(|set| u128::from(*set) > most) {
            Some(set) => Err(format!(
                "http.timeout_ms: {set} is longer than a stop waits, {most} of its grace of {} ms; \
                 give less, leave it out, or raise grace",
                grace.as_millis()
            )),
            None => Ok(()),
        }
    }
}

/// For a call, where nothing is set and no grace is shorter.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Name, connection and TLS together.
    pub connect_timeout_ms: u64,
    /// From the first byte of the request to the last of the answer, of which a stop must leave
    /// room: unless set, 15 s or what `grace` leaves, whichever is shorter.
    pub timeout_ms: Option<u64>,
    /// A connection unused for so long is closed. Must be shorter than what providers' servers
    /// allow, for a request that meets their close half-way is in doubt.
    pub idle_ms: u64,
    /// Connections of this process to one organisation's provider at a time.
    pub connections: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { connect_timeout_ms: 5_000, timeout_ms: None, idle_ms: 1_000, connections: 32 }
    }
}

impl HttpConfig {
    /// How long a call may take where a stop may take `grace`.
    pub(crate) fn timeout(&self, grace: Option<Duration>) -> Duration {
        let most = grace.map_or(TIMEOUT, |grace| longest_call(grace).min(TIMEOUT));
        self.timeout_ms.map_or(most, Duration::from_millis)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_not_waited_for_longer_than_a_stop_waits() {
        let http = |timeout_ms| HttpConfig { timeout_ms, ..HttpConfig::default() };
        let timeout = |grace| http(None).timeout(grace).as_secs();
        assert_eq!([25, 10].map(|s| timeout(Some(Duration::from_secs(s)))), [15, 9]);
        assert_eq!(timeout(None), 15);
        let grace = Duration::from_secs(10);
        let check =
            |timeout_ms| Config { http: http(timeout_ms), ..Config::default() }.check(grace);
        assert_eq!((check(None), check(Some(9_000))), (Ok(()), Ok(())));
        let refused = check(Some(15_000)).expect_err("too long");
        assert!(refused.starts_with("http.timeout_ms: 15000 is longer"), "{refused}");
        assert!(refused.contains("9000 of its grace of 10000 ms"), "{refused}");
    }
}
