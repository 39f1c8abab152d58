//! WHO: customers, consent and segments; cuts a run into batches (the plan) and hands them out (the
//! release). The one place where personal data is kept, sealed.

mod activity;
mod audience;
mod blacklist;
mod consent_log;
mod delivery;
mod domain;
mod failure;
mod find;
mod forecast;
mod grpc;
mod hex;
mod import;
mod list;
mod people;
mod plan;
mod preview;
mod release;
mod run_due;
mod store;
mod subscription;
mod upsert;
mod vault;

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_contracts::{
    audience::v1::{
        activity_service_server::ActivityServiceServer,
        audience_service_server::AudienceServiceServer,
        customer_service_server::CustomerServiceServer,
    },
    campaign::v1::Organisation,
    ids::OrganisationId,
};
use carillon_outbox::{Outbox, Subscriber};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop};
use carillon_tenancy::Tenancy;
use tokio::sync::Notify;
use tonic::service::Routes;

pub use consent_log::{ConsentLog, verify_consent_log};
pub use store::Migrator;

use failure::Failure;
use vault::Vault;

/// A request of 1,000 customers with long attributes, and a page of as many.
const IMPORT_BYTES: usize = 32 * 1024 * 1024;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    /// Wraps the organisations' data keys and those of batches.
    pub wrapping_key: WrappingKey,
}

/// What the service offers: `public` to organisations, `internal` to other services.
pub struct Service {
    pub public: Routes,
    pub internal: Routes,
}

/// The state that verbs work on.
#[derive(Clone)]
pub(crate) struct Evaluator {
    database: Database,
    broker: Arc<dyn Broker>,
    clock: Clock,
    outbox: Outbox,
    tenancy: Tenancy,
    vault: Vault,
    /// Wake the two loops.
    plan_soon: Arc<Notify>,
    release_soon: Arc<Notify>,
}

impl Evaluator {
    pub(crate) async fn organisation(&self, id: OrganisationId) -> Result<Organisation, Failure> {
        let known = self.tenancy.organisation(id).await?;
        known.ok_or(Failure::OrganisationUnknown(id))
    }
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let Parts { database, broker, clock, stop, wrapping_key } = parts;
    let name = topology::SEGMENT_EVALUATOR;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    outbox.spawn(&stop);
    let tenancy = Tenancy::new(database.clone());
    let evaluator = Evaluator {
        database: database.clone(),
        broker: Arc::clone(&broker),
        clock: clock.clone(),
        outbox,
        tenancy: tenancy.clone(),
        vault: Vault::new(wrapping_key, database.clone()),
        plan_soon: Arc::default(),
        release_soon: Arc::default(),
    };
    let hear = Subscriber::new(name, database, broker, clock);
    hear.spawn(topology::ORGANISATION_CHANGED, Arc::new(tenancy), &stop);
    hear.spawn(topology::RUN_DUE, Arc::new(run_due::PinRun(evaluator.clone())), &stop);
    let deliveries = Arc::new(delivery::Deliveries(evaluator.clone()));
    hear.spawn(topology::DELIVERY_CHANGED, deliveries, &stop);
    stop.spawn("planner", evaluator.clone().plan(stop.clone()));
    stop.spawn("release", evaluator.clone().release(stop.clone()));
    let customers = CustomerServiceServer::new(evaluator.clone())
        .max_decoding_message_size(IMPORT_BYTES)
        .max_encoding_message_size(IMPORT_BYTES);
    let activities = ActivityServiceServer::new(evaluator.clone());
    Service {
        public: Routes::new(customers).add_service(activities),
        internal: Routes::new(AudienceServiceServer::new(evaluator)),
    }
}
