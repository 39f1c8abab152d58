//! HOW, for SMS: counts parts, asks billing for them, hands messages to the organisation's
//! gateway, and hears what became of them.

mod callbacks;
mod config;
mod correlation;
mod domain;
mod funds;
mod gateway;
mod health;
mod receipts;
mod replies;
mod store;
mod text;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use axum::Router;
use carillon_broker::{Broker, topology};
use carillon_dispatch::{Permits, sandbox::Sandbox};
use carillon_sealing::{Links, ReplyLinks, WrappingKey};
use carillon_service_kit::{Clock, Database, Stop, egress::Egress, rpc::Transport};
use sea_orm::DbErr;

use callbacks::Callbacks;
use correlation::Correlation;
use gateway::{Heeded, Routes, Shared, SmsGateway, Wire};
use health::HealthWatch;
use receipts::Receipts;
use replies::Replies;
use store::SmscStore;

pub use config::{Config, HttpConfig, SmppConfig};
pub use gateway::RootsError;
pub use store::Migrator;

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
    /// Where providers may be.
    pub egress: Egress,
    /// The address that customers and providers reach, such as `https://carillon.example`.
    pub public_url: String,
    /// Where the sandbox keeps what it accepts, if there is one.
    pub outbox: PathBuf,
    pub config: Config,
}

/// What the service offers.
pub struct Service {
    /// Callbacks of providers, below `/callbacks/sms`.
    pub http: Router,
    /// For other services: what operators are told.
    pub internal: tonic::service::Routes,
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
    let Parts { database, broker, clock, stop, key, permits, billing, .. } = parts;
    let Config { sandbox, http, smpp, tls_roots } = parts.config;
    let sandbox = match sandbox.enabled {
        true => Some(Arc::new(Sandbox::open(&parts.outbox, "sms", sandbox)?)),
        false => None,
    };
    let roots = Wire::roots(tls_roots.as_deref())?;
    let wire = Arc::new(Wire::new(parts.egress, roots, http, stop.grace()));
    let (correlation, correlating) = Correlation::new();
    let heeded: Heeded = Arc::new(OnceLock::new());
    let (config, replies) = (smpp, Arc::clone(&heeded));
    let shared = Shared { wire, correlation, replies, config, stop: stop.clone() };
    let health = HealthWatch::start(database.clone(), clock.clone()).await?;
    let (at, watch) = (database.clone(), health.clone());
    let routes = Arc::new(Routes::new(at, key.clone(), sandbox.clone(), shared, watch));
    let receipts = Receipts::new(&parts.public_url, &key);
    let gateway = SmsGateway {
        routes: Arc::clone(&routes),
        health: health.clone(),
        clock: clock.clone(),
        links: Links::new(&parts.public_url, &key),
        receipts: receipts.clone(),
    };
    let dispatching = carillon_dispatch::start(carillon_dispatch::Parts {
        name: topology::SMS_DISPATCHER,
        database: database.clone(),
        broker,
        clock: clock.clone(),
        stop: stop.clone(),
        key: key.clone(),
        gateway,
        funds: Some(Arc::new(funds::Billing::new(billing))),
        permits,
    })
    .await?;
    if let Some(sandbox) = sandbox {
        sandbox.report(dispatching.evidence.clone(), &stop);
    }
    health.tell_by(dispatching.outbox.clone());
    let stopping = stop.clone();
    stop.keep("gateways' health", move || health.clone().follow(stopping.clone()));
    let (forgetting, stopping) = (Arc::clone(&routes), stop.clone());
    stop.keep("former gateways", move || Arc::clone(&forgetting).forget(stopping.clone()));
    stop.spawn("idle connections", Arc::clone(&routes).keep_tidy(stop.clone()));
    let smsc = SmscStore {
        database: database.clone(),
        clock: clock.clone(),
        evidence: dispatching.evidence.clone(),
    };
    correlating.begin(smsc.clone());
    let (holding, stopping) = (Arc::clone(&routes), stop.clone());
    stop.keep("SMPP accounts", move || {
        correlation::hold(smsc.clone(), Arc::clone(&holding), stopping.clone())
    });
    let gatherer = callbacks::gather(dispatching.evidence, &stop);
    let links = ReplyLinks::new(&parts.public_url, &key);
    let replies = Replies { database, outbox: dispatching.outbox, clock, key, links };
    // Nobody else sets it.
    let _ = heeded.set(replies.clone());
    let (forgetting, stopping) = (replies.clone(), stop.clone());
    stop.keep("known replies", move || forgetting.clone().forget(stopping.clone()));
    let internal = dispatching.operator.routes();
    let callbacks = Callbacks { receipts, routes, gatherer, replies };
    Ok(Service { http: callbacks::router(callbacks), internal })
}
