//! `carillon serve` and `carillon migrate`: one service a process, on PostgreSQL and RabbitMQ.

mod config;
mod figures;
mod front;
mod health;
mod migrate;
mod reflection;
mod services;
mod signals;

use std::path::PathBuf;

use carillon_broker::topology::{self, SERVICES};
use carillon_service_kit::{Stop, metrics, telemetry};
use tokio::net::TcpListener;

pub use config::Config;
pub(crate) use config::{check_dispatchers, check_public_url};
pub(crate) use figures::watch;
pub(crate) use front::{Front, operations};
pub(crate) use health::{Health, public_services, services_of};
pub(crate) use signals::Signals;

use crate::error::Error;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  carillon serve billing --config /etc/carillon/billing.toml\n\n\
    Settings come from --config FILE (TOML) and from CARILLON__… variables, which win:\n  \
    CARILLON__DATABASE__URL=postgres://carillon@db/billing carillon serve billing\n\n\
    docs/operators.md lists them."
)]
pub struct ServeArgs {
    /// campaign-api, scheduler, segment-evaluator, sms-dispatcher, email-dispatcher or billing.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SERVICES))]
    pub service: String,
    /// A file of settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Written at every start, with the process's id.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  carillon migrate all --config /etc/carillon/carillon.toml\n\n\
    With `all`, database.url holds {service}, which stands for campaign_api, scheduler, …:\n  \
    CARILLON__DATABASE__URL='postgres://carillon@db/{service}' carillon migrate all")]
pub struct MigrateArgs {
    /// The service whose tables are brought up to date, or `all`.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SERVICES.into_iter().chain(["all"])))]
    pub service: String,
    /// A file of settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

pub async fn migrate(args: MigrateArgs) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    let all = args.service == "all";
    for service in SERVICES.into_iter().filter(|service| all || *service == args.service) {
        if all && !config.database.is_for_all()? {
            return Err(Error::failed(
                "database.url: it names one database, but every service has its own; write \
                 {service} in it, such as postgres://carillon@db/{service}",
            ));
        }
        migrate::migrate(service, &config).await?;
        note!("{service}: the tables are up to date");
    }
    Ok(())
}

pub async fn run(args: ServeArgs) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    if let Some(path) = &args.pid_file {
        let written = std::fs::write(path, format!("{}\n", std::process::id()));
        written.map_err(|error| {
            Error::failed(format!("--pid-file: '{}' cannot be written: {error}", path.display()))
        })?;
    }
    let telemetry = telemetry::start(&args.service, &config.log, &config.telemetry);
    let telemetry = telemetry.map_err(Error::failed)?;
    let known = SERVICES.into_iter().find(|known| *known == args.service);
    let service = known.ok_or_else(|| Error::usage(format!("'{}' is no service", args.service)))?;
    let served = serve(service, config).await;
    if let Err(error) = &served {
        tracing::error!(service = args.service, %error, "stopped");
    }
    telemetry.finish().await;
    served
}

/// From the first connection to the last.
async fn serve(service: &'static str, config: Config) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let stop = Stop::within(config.grace);
    metrics::start(&stop).map_err(Error::failed)?;
    let broker = config.broker.connect(service)?;
    let (public, internal, operators) = (
        listen("listen", config.listen).await?,
        listen("internal_listen", config.internal_listen).await?,
        listen("metrics_listen", config.metrics_listen).await?,
    );
    let addresses = [&public, &internal, &operators].map(|listener| {
        listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
    });
    let grace = config.grace;
    let health = Health::default();
    let peers = config.services.clone();
    front::serve_operators(operators, health.clone());
    let offered = tokio::select! {
        offered = services::start(service, config, broker.clone(), &stop) => offered?,
        // A database that is out of reach must not hold a stop.
        () = signals.stop() => return Ok(()),
    };
    let listed = public_services(service);
    Front { routes: offered.public, http: offered.http, listed }.serve(public, &health, &stop)?;
    let listed = health::internal_services(service);
    Front { routes: offered.internal, http: axum::Router::new(), listed }
        .serve(internal, &health, &stop)?;
    health.serving(&health::services_of(service)).await;
    if service == topology::CAMPAIGN_API {
        health.mirror(&peers, &stop)?;
    }
    let [listen, internal_listen, metrics_listen] = &addresses;
    tracing::info!(service, listen, internal_listen, metrics_listen, "serving");

    let failed = tokio::select! {
        () = signals.stop() => false,
        () = stop.requested() => true,
    };
    tracing::info!(service, "stopping");
    health.stopping().await;
    stop.now();
    let drained = tokio::select! {
        drained = stop.drained(grace) => drained,
        () = signals.stop() => return Err(Error::failed("stopped hard, by a second signal")),
    };
    if !drained {
        let (seconds, running) = (grace.as_secs(), stop.running().join(", "));
        let message = format!("stopped hard after {seconds} s of grace; still running: {running}");
        return Err(Error::failed(message));
    }
    broker.close().await;
    tracing::info!(service, "stopped");
    if failed {
        return Err(Error::failed(
            "a part of the service failed and it stopped; the log says which",
        ));
    }
    Ok(())
}

async fn listen(key: &str, address: std::net::SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::failed(format!("{key}: {address} cannot be listened on: {error}; give another"))
    })
}
