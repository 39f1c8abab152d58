use std::path::Path;

use carillon_service_kit::{
    config::{self, SecretFile},
    telemetry::LogFormat,
};
use serde::Deserialize;

use crate::error::Error;

/// What can be set of `carillon dev`: each service under its name, and what the process shares.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub log: Log,
    /// Holds 64 hexadecimal digits. Without it a key is made and kept in the data folder.
    pub wrapping_key: Option<SecretFile>,
    pub sms_dispatcher: carillon_sms_dispatcher::Config,
    pub email_dispatcher: carillon_email_dispatcher::Config,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What is logged, such as `info,carillon_dispatch=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "warn".into() }
    }
}

impl Config {
    /// Of a file, if one is given, and of this process's environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let config: Self = config::load(file, std::env::vars())
            .map_err(|error| Error::failed(error.to_string()))?;
        for (service, sandbox) in [
            ("sms_dispatcher", &config.sms_dispatcher.sandbox),
            ("email_dispatcher", &config.email_dispatcher.sandbox),
        ] {
            sandbox
                .check()
                .map_err(|error| Error::failed(format!("configuration: {service}.{error}")))?;
        }
        Ok(config)
    }
}
