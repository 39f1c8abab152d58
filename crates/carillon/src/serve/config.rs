use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use carillon_broker::{RESEND_AFTER, amqp::AmqpBroker};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{
    config::{self, SecretFile},
    database::Postgres,
    egress,
    rpc::{self, Transport},
    telemetry::{Log, LogFormat, Traces},
};
use serde::Deserialize;
use url::Url;

use crate::{error::Error, output::printable};

/// The libraries' own words are left out where we log what they tell us.
const FILTER: &str = "info,lapin=off,sqlx=warn";

/// What can be set of a service: what is shared by all, and each one's own under its name, so that
/// one file can serve them all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    /// Where organisations and providers come in: gRPC and plain HTTP.
    pub listen: SocketAddr,
    /// Where other services come in. Nobody else must reach it.
    pub internal_listen: SocketAddr,
    /// `/healthz`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// The one address that customers and providers reach, such as `https://carillon.example`.
    pub public_url: String,
    /// Holds 64 hexadecimal digits.
    pub wrapping_key: Option<SecretFile>,
    /// The key that creates organisations; campaign-api alone needs it.
    pub platform_key: Option<SecretFile>,
    pub services: Services,
    pub egress: egress::Policy,
    pub log: Log,
    pub telemetry: Traces,
    /// How long a stop may take before it is a hard one.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub grace: Duration,
    /// Where sandbox gateways keep what they are given.
    pub sandbox_outbox: PathBuf,
    pub billing: carillon_billing::Config,
    pub sms_dispatcher: carillon_sms_dispatcher::Config,
    pub email_dispatcher: carillon_email_dispatcher::Config,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            database: DatabaseConfig::default(),
            broker: BrokerConfig::default(),
            listen: local(7100),
            internal_listen: local(7200),
            metrics_listen: local(0),
            public_url: "http://127.0.0.1:7070".into(),
            wrapping_key: None,
            platform_key: None,
            services: Services::default(),
            egress: egress::Policy::default(),
            log: Log { format: LogFormat::Json, filter: FILTER.into() },
            telemetry: Traces::default(),
            grace: Duration::from_secs(25),
            sandbox_outbox: "outbox".into(),
            billing: carillon_billing::Config::default(),
            sms_dispatcher: carillon_sms_dispatcher::Config::default(),
            email_dispatcher: carillon_email_dispatcher::Config::default(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://user@host/database`. `{service}` in it stands for the service's name.
    pub url: Option<String>,
    /// A file that holds the URL, password and all.
    pub url_file: Option<PathBuf>,
    /// Connections of this process.
    pub connections: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, url_file: None, connections: 16 }
    }
}

const SERVICE: &str = "{service}";

impl DatabaseConfig {
    pub(super) fn of(&self, service: &str) -> Result<Postgres, Error> {
        if self.connections < 4 {
            return Err(Error::failed(format!(
                "database.connections: {} are too few; give 4 at least",
                self.connections
            )));
        }
        let url = either("database", self.url.as_ref(), self.url_file.as_ref())?;
        let url = url.replace(SERVICE, &service.replace('-', "_"));
        Ok(Postgres { url, connections: self.connections })
    }

    /// Whether each service finds its own database.
    pub(super) fn is_for_all(&self) -> Result<bool, Error> {
        Ok(either("database", self.url.as_ref(), self.url_file.as_ref())?.contains(SERVICE))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:5672/vhost`
    pub url: Option<String>,
    pub url_file: Option<PathBuf>,
    /// An event or a batch that a service lacks for so long is sent to it again.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub resend_after: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self { url: None, url_file: None, resend_after: RESEND_AFTER }
    }
}

impl BrokerConfig {
    pub(super) fn connect(&self, service: &str) -> Result<AmqpBroker, Error> {
        let name = format!("carillon {service}");
        AmqpBroker::connect_resending(&self.url()?, &name, self.resend_after)
            .map_err(|error| Error::failed(format!("broker.url: {error}")))
    }

    fn check(&self) -> Result<(), Error> {
        if self.resend_after >= Duration::from_secs(1) {
            return Ok(());
        }
        let given = self.resend_after;
        Err(Error::failed(format!("broker.resend_after: {given:?} is too short; give 1s at least")))
    }

    fn url(&self) -> Result<String, Error> {
        either("broker", self.url.as_ref(), self.url_file.as_ref())
    }
}

fn either(section: &str, url: Option<&String>, file: Option<&PathBuf>) -> Result<String, Error> {
    match (url, file) {
        (Some(url), None) => Ok(url.clone()),
        (None, Some(file)) => {
            let secret = SecretFile { file: file.clone() }.read().map_err(told)?;
            String::from_utf8(secret).map_err(|_| {
                Error::failed(format!("{section}.url_file: '{}' is no text", file.display()))
            })
        }
        (None, None) => Err(Error::failed(format!(
            "{section}.url_file: not set; name the file that holds the URL"
        ))),
        (Some(_), Some(_)) => {
            Err(Error::failed(format!("{section}: both url and url_file are set; leave one out")))
        }
    }
}

/// Where the other services' internal listeners are, as `http://HOST:PORT`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    pub campaign_api: Option<String>,
    pub scheduler: Option<String>,
    pub segment_evaluator: Option<String>,
    pub sms_dispatcher: Option<String>,
    pub email_dispatcher: Option<String>,
    pub billing: Option<String>,
}

impl Services {
    pub(super) fn url(&self, service: &str) -> Option<&str> {
        use carillon_broker::topology as t;
        let url = match service {
            t::CAMPAIGN_API => &self.campaign_api,
            t::SCHEDULER => &self.scheduler,
            t::SEGMENT_EVALUATOR => &self.segment_evaluator,
            t::SMS_DISPATCHER => &self.sms_dispatcher,
            t::EMAIL_DISPATCHER => &self.email_dispatcher,
            t::BILLING => &self.billing,
            _ => &None,
        };
        url.as_deref()
    }

    pub(super) fn to(&self, service: &str) -> Result<Transport, Error> {
        let key = service.replace('-', "_");
        let url = self.url(service).ok_or_else(|| {
            Error::failed(format!(
                "services.{key}: not set; give its internal listener, such as http://{service}:7200"
            ))
        })?;
        rpc::connect(url).map_err(|error| Error::failed(format!("services.{key}: {error}")))
    }
}

impl Config {
    /// Of a file, if one is given, and of this process's environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        Self::read(file, std::env::vars())
    }

    fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let config: Self = config::load(file, environment).map_err(told)?;
        config.broker.check()?;
        check_public_url(&config.public_url)?;
        check_dispatchers(&config.sms_dispatcher, &config.email_dispatcher, config.grace)?;
        Ok(config)
    }

    pub(super) fn wrapping_key(&self) -> Result<WrappingKey, Error> {
        let file = self.wrapping_key.as_ref().ok_or_else(|| {
            Error::failed(
                "wrapping_key.file: not set; name a file that holds 64 hexadecimal digits \
                 (`openssl rand -hex 32`), the same for all services",
            )
        })?;
        WrappingKey::from_hex(&file.read().map_err(told)?)
            .map_err(|error| Error::failed(format!("wrapping_key: {error}")))
    }

    pub(super) fn platform_key(&self) -> Result<String, Error> {
        let file = self.platform_key.as_ref().ok_or_else(|| {
            Error::failed(
                "platform_key.file: not set; name a file that holds the key which creates \
                 organisations",
            )
        })?;
        let key = String::from_utf8(file.read().map_err(told)?).unwrap_or_default();
        let prefix = carillon_tenancy::PLATFORM_PREFIX;
        if !key.starts_with(prefix) || key.len() < prefix.len() + 32 {
            return Err(Error::failed(format!(
                "platform_key: it must be {prefix} and 32 random characters at least"
            )));
        }
        Ok(key)
    }
}

/// Where a stop may take `grace`.
pub(crate) fn check_dispatchers(
    sms: &carillon_sms_dispatcher::Config,
    email: &carillon_email_dispatcher::Config,
    grace: Duration,
) -> Result<(), Error> {
    let refused = |service, error| Error::failed(format!("configuration: {service}.{error}"));
    sms.check(grace).map_err(|error| refused("sms_dispatcher", error))?;
    email.check(grace).map_err(|error| refused("email_dispatcher", error))
}

/// It stands in links that customers follow, and in addresses that providers are given.
pub(crate) fn check_public_url(given: &str) -> Result<(), Error> {
    let is_good = Url::parse(given).is_ok_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if is_good {
        return Ok(());
    }
    Err(Error::failed(format!(
        "configuration: public_url: '{}' is no address that can be reached; give one such as \
         https://carillon.example",
        printable(given)
    )))
}

fn told(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Error> {
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::read(None, owned.collect::<Vec<_>>())
    }

    #[test]
    fn a_public_url_is_one() {
        for good in ["http://127.0.0.1:7070", "https://carillon.example", "https://c.example/a/"] {
            check_public_url(good).expect(good);
        }
        for bad in
            ["", "carillon.example", "ftp://c.example", "https://c.example/?a=1", "not a url"]
        {
            let error = check_public_url(bad).expect_err(bad).to_string();
            assert!(error.starts_with("configuration: public_url: '"), "{error}");
        }
    }

    #[test]
    fn variables_set_every_kind_of_value() {
        let config = read(&[
            ("CARILLON__DATABASE__URL", "postgres://c@db/{service}"),
            ("CARILLON__DATABASE__CONNECTIONS", "9"),
            ("CARILLON__LISTEN", "0.0.0.0:7100"),
            ("CARILLON__GRACE", "10s"),
            ("CARILLON__EGRESS__ALLOW_PRIVATE", "true"),
            ("CARILLON__SERVICES__BILLING", "http://billing:7200"),
            ("CARILLON__TELEMETRY__SAMPLE_RATIO", "0.25"),
            ("CARILLON__WRAPPING_KEY__FILE", "/run/secrets/wrapping-key"),
        ])
        .expect("valid");
        let at = config.database.of("segment-evaluator").expect("set");
        assert_eq!((at.url.as_str(), at.connections), ("postgres://c@db/segment_evaluator", 9));
        assert_eq!(config.grace, Duration::from_secs(10));
        assert!(config.egress.allow_private);
        assert_eq!(config.services.url("billing"), Some("http://billing:7200"));
        assert!((config.telemetry.sample_ratio - 0.25).abs() < f64::EPSILON);
        assert!(config.database.is_for_all().expect("set"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let config = read(&[]).expect("defaults");
        let told = |error: Error| error.to_string();
        let missing = config.database.of("billing").expect_err("not set");
        assert!(told(missing).starts_with("database.url_file: not set; name the file"));
        assert!(told(config.broker.url().expect_err("not set")).starts_with("broker.url_file"));
        let missing = config.wrapping_key().err().expect("not set");
        assert!(told(missing).contains("openssl rand -hex 32"));
        let missing = config.services.to("billing").expect_err("not set");
        assert!(told(missing).contains("services.billing: not set"));
        assert!(!config.egress.allow_private, "a deployment refuses private addresses");
    }

    #[test]
    fn a_call_that_may_last_longer_than_a_stop_is_refused() {
        for (setting, key) in [
            ("CARILLON__SMS_DISPATCHER__HTTP__TIMEOUT_MS", "sms_dispatcher.http.timeout_ms"),
            ("CARILLON__EMAIL_DISPATCHER__SMTP__DATA_TIMEOUT_MS", "email_dispatcher.smtp.data"),
        ] {
            let with_grace = |grace| read(&[("CARILLON__GRACE", grace), (setting, "20000")]);
            assert!(with_grace("25s").is_ok(), "{key}");
            let refused = with_grace("10s").expect_err("too long").to_string();
            assert!(refused.contains(key) && refused.contains("raise grace"), "{refused}");
        }
    }

    #[test]
    fn one_address_too_many_is_refused() {
        let both = [
            ("CARILLON__BROKER__URL", "amqp://a"),
            ("CARILLON__BROKER__URL_FILE", "/run/secrets/amqp"),
        ];
        let refused = read(&both).expect("read").broker.url().expect_err("refused");
        assert_eq!(refused.to_string(), "broker: both url and url_file are set; leave one out");
    }
}
