//! HOW, for SMS: counts parts, asks billing for them, and hands messages to a gateway.

mod config;
mod funds;
mod gateway;

use std::{io, path::PathBuf, sync::Arc};

use carillon_broker::{Broker, topology};
use carillon_dispatch::{Permits, sandbox::Sandbox};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop, rpc::Transport};
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
    /// Billing's internal services.
    pub billing: Transport,
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
    let sandbox = Sandbox::open(&parts.outbox, "sms", parts.config.sandbox)?;
    carillon_dispatch::start(carillon_dispatch::Parts {
        name: topology::SMS_DISPATCHER,
        database: parts.database,
        broker: parts.broker,
        clock: parts.clock.clone(),
        stop: parts.stop,
        key: parts.key,
        gateway: gateway::SmsGateway { sandbox, clock: parts.clock },
        funds: Some(Arc::new(funds::Billing::new(parts.billing))),
        permits: parts.permits,
    })
    .await?;
    Ok(())
}
