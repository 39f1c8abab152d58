//! HOW MUCH: prepaid accounts, holds and the ledger. Never channels, never floats.

mod config;
mod credit;
mod domain;
mod grpc;
mod hold;
mod list_holds;
mod low_balance;
mod settle;
mod statement;
mod store;

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_contracts::billing::v1::{
    account_service_server::AccountServiceServer, hold_service_server::HoldServiceServer,
};
use carillon_operator::Operator;
use carillon_outbox::{Outbox, Subscriber};
use carillon_service_kit::{Clock, Database, Stop, rpc};
use carillon_tenancy::Tenancy;
use tonic::service::Routes;

pub use config::Config;
pub use store::Migrator;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    pub config: Config,
}

/// What the service offers: `public` to organisations, `internal` to other services.
pub struct Service {
    pub public: Routes,
    pub internal: Routes,
}

/// The state that verbs work on.
#[derive(Clone)]
pub(crate) struct Billing {
    database: Database,
    clock: Clock,
    outbox: Outbox,
    tenancy: Tenancy,
    /// The amounts that are sold, smallest first.
    packages: Arc<[i64]>,
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let Parts { database, broker, clock, stop, config } = parts;
    let name = topology::BILLING;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    outbox.spawn(&stop);
    let tenancy = Tenancy::new(database.clone());
    let billing = Billing {
        database: database.clone(),
        clock: clock.clone(),
        outbox,
        tenancy,
        packages: config.packages().into(),
    };
    let subscriber = Subscriber::new(name, database, broker, clock);
    let settings = low_balance::Settings(billing.clone());
    subscriber.spawn(topology::ORGANISATION_CHANGED, Arc::new(settings), &stop);
    subscriber.spawn(topology::DELIVERY_CHANGED, Arc::new(settle::Settle(billing.clone())), &stop);
    let operator = Operator::new(name, billing.database.clone(), subscriber);
    Service {
        public: Routes::new(AccountServiceServer::new(billing.clone())),
        internal: rpc::merge([Routes::new(HoldServiceServer::new(billing)), operator.routes()]),
    }
}
