//! WHEN: schedules, occurrences and runs. Never recipients, never prices.

mod domain;
mod grpc;
mod halt;
mod organisation;
mod publish;
mod runs;
mod store;
mod tick;

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_contracts::schedule::v1::run_service_server::RunServiceServer;
use carillon_operator::Operator;
use carillon_outbox::{Outbox, Subscriber};
use carillon_service_kit::{Clock, Database, Stop};
use carillon_tenancy::Tenancy;
use tokio::sync::Notify;
use tonic::service::Routes;

pub use store::Migrator;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
}

/// What the service offers to organisations.
pub struct Service {
    pub public: Routes,
    pub internal: Routes,
}

/// The state that verbs work on.
#[derive(Clone)]
pub(crate) struct Scheduler {
    database: Database,
    clock: Clock,
    outbox: Outbox,
    tenancy: Tenancy,
    /// Something may have become due.
    due: Arc<Notify>,
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let Parts { database, broker, clock, stop } = parts;
    let name = topology::SCHEDULER;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    outbox.spawn(&stop);
    let tenancy = Tenancy::new(database.clone());
    let scheduler = Scheduler {
        database: database.clone(),
        clock: clock.clone(),
        outbox,
        tenancy,
        due: Arc::default(),
    };
    let subscriber = Subscriber::new(name, database, broker, clock);
    let organisations = Arc::new(organisation::KeepOrganisation(scheduler.clone()));
    subscriber.spawn(topology::ORGANISATION_CHANGED, organisations, &stop);
    let publish = Arc::new(publish::Publish(scheduler.clone()));
    subscriber.spawn(topology::CAMPAIGN_PUBLISHED, publish, &stop);
    let halts = Arc::new(halt::KeepHalts(scheduler.clone()));
    subscriber.spawn(topology::CAMPAIGN_HALTED, halts, &stop);
    stop.spawn("scheduler tick", scheduler.clone().tick(stop.clone()));
    let internal = Operator::new(name, scheduler.database.clone(), subscriber).routes();
    Service { public: Routes::new(RunServiceServer::new(scheduler)), internal }
}
