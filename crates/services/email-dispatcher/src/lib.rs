//! HOW, for e-mail: writes messages and hands them to the organisation's SMTP server.

mod config;
mod gateway;
mod message;
mod routes;
mod settings;
mod smtp;

use std::{io, path::PathBuf, sync::Arc};

use carillon_broker::{Broker, topology};
use carillon_contracts::dispatch::v1::settings_service_server::SettingsServiceServer;
use carillon_dispatch::{Permits, sandbox::Sandbox};
use carillon_sealing::{Links, WrappingKey};
use carillon_service_kit::{Clock, Database, Stop, egress::Egress, rpc};
use carillon_tenancy::Tenancy;
use sea_orm::DbErr;
use tonic::service::Routes as GrpcRoutes;

use gateway::EmailGateway;
use routes::Routes;
use settings::Settings;
use smtp::Reach;

pub use carillon_dispatch::Migrator;
pub use config::{Config, SmtpConfig};
pub use smtp::RootsError;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    pub key: WrappingKey,
    pub permits: Permits,
    /// Where SMTP servers may be.
    pub egress: Egress,
    /// The address that customers reach, such as `https://carillon.example`.
    pub public_url: String,
    /// Where the sandbox keeps what it accepts, if there is one.
    pub outbox: PathBuf,
    pub config: Config,
}

/// What the service offers to other services.
pub struct Service {
    pub internal: GrpcRoutes,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the sandbox's folder: {0}")]
    Sandbox(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Takes over what an earlier worker left, and starts the tasks.
pub async fn start(parts: Parts) -> Result<Service, StartError> {
    let Parts { database, broker, clock, stop, key, permits, .. } = parts;
    let Config { sandbox, smtp, tls_roots } = parts.config;
    let sandbox = match sandbox.enabled {
        true => Some(Arc::new(Sandbox::open(&parts.outbox, "email", sandbox)?)),
        false => None,
    };
    let reach = Arc::new(Reach {
        egress: parts.egress,
        tls: smtp::tls_client(tls_roots.as_deref())?,
        limits: smtp.limits(stop.grace()),
        hello: smtp.hello_name,
    });
    let tenancy = Tenancy::new(database.clone());
    let routes = Arc::new(Routes::new(tenancy, key.clone(), Arc::clone(&reach)));
    let gateway = EmailGateway {
        routes: Arc::clone(&routes),
        sandbox: sandbox.clone(),
        clock: clock.clone(),
        links: Links::new(&parts.public_url, &key),
    };
    let dispatching = carillon_dispatch::start(carillon_dispatch::Parts {
        name: topology::EMAIL_DISPATCHER,
        database,
        broker,
        clock,
        stop: stop.clone(),
        key: key.clone(),
        gateway,
        funds: None,
        permits,
    })
    .await?;
    if let Some(sandbox) = sandbox {
        sandbox.report(dispatching.evidence, &stop);
    }
    stop.spawn("idle connections", routes.keep_tidy(stop.clone()));
    let settings = SettingsServiceServer::new(Settings { key, reach });
    let internal = rpc::merge([GrpcRoutes::new(settings), dispatching.operator.routes()]);
    Ok(Service { internal })
}
