use std::{path::PathBuf, time::Duration};

use carillon_dispatch::sandbox::SandboxConfig;
use carillon_service_kit::longest_call;
use serde::Deserialize;

use crate::smtp::Limits;

/// What can be set of this service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is a sandbox gateway, and how it misbehaves.
    pub sandbox: SandboxConfig,
    /// Conversations with organisations' SMTP servers.
    pub smtp: SmtpConfig,
    /// A PEM file of certificates to trust besides the system's, for private authorities.
    pub tls_roots: Option<PathBuf>,
}

impl Config {
    /// Names the first setting that cannot be used where a stop may take `grace`.
    pub fn check(&self, grace: Duration) -> Result<(), String> {
        self.sandbox.check()?;
        let (set, most) = (self.smtp.data_timeout_ms, longest_call(grace).as_millis());
        match set.filter(|set| u128::from(*set) > most) {
            Some(set) => Err(format!(
                "smtp.data_timeout_ms: {set} is longer than a stop waits, {most} of its grace of \
                 {} ms; give less, leave it out, or raise grace",
                grace.as_millis()
            )),
            None => Ok(()),
        }
    }
}

/// For a mail to be taken, where nothing is set and no grace is shorter.
const DATA_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// Looking up the name and connecting.
    pub connect_timeout_ms: u64,
    /// For the answer to each command.
    pub command_timeout_ms: u64,
    /// For a mail to be taken, and again for the answer to its end, of which a stop must leave
    /// room: unless set, a minute or what `grace` leaves, whichever is shorter.
    pub data_timeout_ms: Option<u64>,
    /// What EHLO says, such as `mail.carillon.example`; this end's address unless set.
    pub hello_name: Option<String>,
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 10_000,
            command_timeout_ms: 30_000,
            data_timeout_ms: None,
            hello_name: None,
        }
    }
}

impl SmtpConfig {
    pub(crate) fn limits(&self, grace: Option<Duration>) -> Limits {
        let most = grace.map_or(DATA_TIMEOUT, |grace| longest_call(grace).min(DATA_TIMEOUT));
        Limits {
            connect: Duration::from_millis(self.connect_timeout_ms),
            command: Duration::from_millis(self.command_timeout_ms),
            data: self.data_timeout_ms.map_or(most, Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data_timeout_ms: Option<u64>) -> Config {
        let smtp = SmtpConfig { data_timeout_ms, ..SmtpConfig::default() };
        Config { smtp, ..Config::default() }
    }

    #[test]
    fn an_answer_is_not_waited_for_longer_than_a_stop_waits() {
        let data = |grace| SmtpConfig::default().limits(grace).data.as_secs();
        assert_eq!([25, 10, 600].map(|s| data(Some(Duration::from_secs(s)))), [24, 9, 60]);
        assert_eq!(data(None), 60);
        let grace = Duration::from_secs(25);
        assert_eq!(config(None).check(grace), Ok(()));
        assert_eq!(config(Some(24_000)).check(grace), Ok(()));
        let refused = config(Some(60_000)).check(grace).expect_err("too long");
        assert!(refused.starts_with("smtp.data_timeout_ms: 60000 is longer"), "{refused}");
        assert!(refused.contains("24000 of its grace of 25000 ms"), "{refused}");
    }
}
