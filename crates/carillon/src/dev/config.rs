use std::path::Path;

use carillon_service_kit::{
    config::{self, SecretFile},
    egress,
    telemetry::{Log, Traces},
};
use serde::Deserialize;

use super::GRACE;
use crate::{
    error::Error,
    serve::{check_dispatchers, check_public_url},
};

/// What can be set of `carillon dev`: each service under its name, and what the process shares.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub log: Log,
    pub telemetry: Traces,
    /// The address that customers and providers reach; the server's own unless set.
    pub public_url: Option<String>,
    /// Gateways may be on this machine and in private networks, unless told otherwise.
    pub egress: egress::Policy,
    /// Holds 64 hexadecimal digits. Without it a key is made and kept in the data folder.
    pub wrapping_key: Option<SecretFile>,
    pub billing: carillon_billing::Config,
    pub sms_dispatcher: carillon_sms_dispatcher::Config,
    pub email_dispatcher: carillon_email_dispatcher::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: Log::default(),
            telemetry: Traces::default(),
            public_url: None,
            egress: egress::Policy { allow_private: true },
            wrapping_key: None,
            billing: carillon_billing::Config::default(),
            sms_dispatcher: carillon_sms_dispatcher::Config::default(),
            email_dispatcher: carillon_email_dispatcher::Config::default(),
        }
    }
}

impl Config {
    /// Of a file, if one is given, and of this process's environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let config: Self = config::load(file, std::env::vars())
            .map_err(|error| Error::failed(error.to_string()))?;
        config.public_url.as_deref().map_or(Ok(()), check_public_url)?;
        check_dispatchers(&config.sms_dispatcher, &config.email_dispatcher, GRACE)?;
        Ok(config)
    }
}
