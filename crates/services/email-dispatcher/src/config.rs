use std::{path::PathBuf, time::Duration};

use carillon_dispatch::sandbox::SandboxConfig;
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

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// Looking up the name and connecting.
    pub connect_timeout_ms: u64,
    /// For the answer to each command.
    pub command_timeout_ms: u64,
    /// For a mail to be taken, and again for the answer to it. A stop waits for it no longer than
    /// its grace: what is cut then is in doubt.
    pub data_timeout_ms: u64,
    /// What EHLO says, such as `mail.carillon.example`; this end's address unless set.
    pub hello_name: Option<String>,
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 10_000,
            command_timeout_ms: 30_000,
            data_timeout_ms: 60_000,
            hello_name: None,
        }
    }
}

impl SmtpConfig {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connect: Duration::from_millis(self.connect_timeout_ms),
            command: Duration::from_millis(self.command_timeout_ms),
            data: Duration::from_millis(self.data_timeout_ms),
        }
    }
}
