//! WHO: customers, consent and segments; cuts a run into batches (the plan) and hands them out (the
//! release). The one place where personal data is kept, sealed.

mod activity;
mod audience;
mod blacklist;
mod consent_log;
mod delivery;
mod documents;
mod domain;
mod failure;
mod figures;
mod find;
mod forecast;
mod grpc;
mod halt;
mod hex;
mod import;
mod list;
mod opt_out;
mod overtaken;
mod parked;
mod people;
mod plan;
mod preview;
mod queue;
mod release;
mod replied;
mod run_due;
mod standing;
mod store;
mod subscription;
mod upsert;
mod vault;

use std::{sync::Arc, time::Duration};

use carillon_broker::{Broker, topology};
use carillon_contracts::{
    audience::v1::{
        activity_service_server::ActivityServiceServer,
        audience_service_server::AudienceServiceServer,
        customer_service_server::CustomerServiceServer,
    },
    campaign::v1::Organisation,
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_operator::Operator;
use carillon_outbox::{Outbox, Subscriber};
use carillon_sealing::{Linked, Links, WrappingKey};
use carillon_service_kit::{Clock, Database, Stop, rpc};
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
    /// The address that customers reach: unsubscribe links are built on it.
    pub public_url: String,
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
    links: Links,
    patience: Duration,
    /// Wake the two loops.
    plan_soon: Arc<Notify>,
    release_soon: Arc<Notify>,
}

impl Evaluator {
    pub(crate) async fn organisation(&self, id: OrganisationId) -> Result<Organisation, Failure> {
        let known = self.tenancy.organisation(id).await?;
        known.ok_or(Failure::OrganisationUnknown(id))
    }

    /// What `{UnsubscribeUrl}` stands for.
    pub(crate) fn unsubscribe_url(
        &self,
        organisation: OrganisationId,
        customer: CustomerId,
        channel: Channel,
    ) -> String {
        self.links.unsubscribe_url(Linked {
            organisation: organisation.uuid(),
            customer: customer.uuid(),
            channel: u8::try_from(i32::from(channel)).unwrap_or_default(),
        })
    }
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let patience = parts.broker.resend_after();
    start_with_patience(parts, patience)
}

/// Releases overtaken batches again after so long: for tests.
pub fn start_with_patience(parts: Parts, patience: Duration) -> Service {
    let Parts { database, broker, clock, stop, wrapping_key, public_url } = parts;
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
        links: Links::new(&public_url, &wrapping_key),
        vault: Vault::new(wrapping_key, database.clone()),
        patience,
        plan_soon: Arc::default(),
        release_soon: Arc::default(),
    };
    let hear = Subscriber::new(name, database.clone(), broker, clock);
    hear.spawn(topology::ORGANISATION_CHANGED, Arc::new(tenancy), &stop);
    hear.spawn(topology::RUN_DUE, Arc::new(run_due::PinRun(evaluator.clone())), &stop);
    let deliveries = Arc::new(delivery::Deliveries(evaluator.clone()));
    hear.spawn(topology::DELIVERY_CHANGED, deliveries, &stop);
    hear.spawn(topology::CAMPAIGN_HALTED, Arc::new(halt::Halts(evaluator.clone())), &stop);
    hear.spawn(topology::REPLY_RECEIVED, Arc::new(replied::Replies(evaluator.clone())), &stop);
    let suppressions = Arc::new(documents::Suppressions(evaluator.clone()));
    evaluator.outbox.spawn_documents(topology::SUPPRESSION_CHANGED, suppressions, &stop);
    stop.spawn("planner", evaluator.clone().plan(stop.clone()));
    stop.spawn("release", evaluator.clone().release(stop.clone()));
    let (watching, stopping) = (evaluator.clone(), stop.clone());
    stop.keep("overtaken batches", move || watching.clone().watch_released(stopping.clone()));
    let customers = CustomerServiceServer::new(evaluator.clone())
        .max_decoding_message_size(IMPORT_BYTES)
        .max_encoding_message_size(IMPORT_BYTES);
    let activities = ActivityServiceServer::new(evaluator.clone());
    let counting = evaluator.clone();
    parked::measure(&database);
    let operator = Operator::new(name, database, hear)
        .with_backlogs(move || {
            let evaluator = counting.clone();
            async move { evaluator.backlogs().await }
        })
        .with_aside(Arc::new(parked::ParkedBatches(evaluator.clone())));
    let audience = Routes::new(AudienceServiceServer::new(evaluator));
    Service {
        public: Routes::new(customers).add_service(activities),
        internal: rpc::merge([audience, operator.routes()]),
    }
}
