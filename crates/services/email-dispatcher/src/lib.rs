//! HOW, for e-mail: makes MIME messages and hands them to a gateway.

mod config;
mod gateway;
mod message;

use std::{io, path::PathBuf, sync::Arc};

use carillon_broker::{Broker, topology};
use carillon_dispatch::{Permits, sandbox::Sandbox};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop};
use carillon_tenancy::Tenancy;
use sea_orm::DbErr;

pub use carillon_dispatch::Migrator;
pub use config::Config;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    pub key: WrappingKey,
    pub permits: Permits,
    /// Where the sandbox keeps what it accepts.
    pub outbox: PathBuf,
    pub config: Config,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the sandbox's folder: {0}")]
    Sandbox(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Takes over what an earlier worker left, and starts the tasks.
pub async fn start(parts: Parts) -> Result<(), StartError> {
    let sandbox = Sandbox::open(&parts.outbox, "email", parts.config.sandbox)?;
    let gateway = gateway::EmailGateway {
        sandbox,
        clock: parts.clock.clone(),
        senders: gateway::Senders::new(Tenancy::new(parts.database.clone())),
    };
    carillon_dispatch::start(carillon_dispatch::Parts {
        name: topology::EMAIL_DISPATCHER,
        database: parts.database,
        broker: parts.broker,
        clock: parts.clock,
        stop: parts.stop,
        key: parts.key,
        gateway,
        funds: None,
        permits: parts.permits,
    })
    .await?;
    Ok(())
}
