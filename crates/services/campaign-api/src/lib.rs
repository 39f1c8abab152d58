//! WHAT: organisations and their keys, campaigns, and `report/`, the projection of what became
//! of them.

mod audience;
mod create_campaign;
mod create_organisation;
mod domain;
mod grpc;
mod list_campaigns;
mod look_ahead;
mod report;
mod request;
mod start_campaign;
mod store;
mod update_campaign;
mod update_organisation;

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_contracts::{
    campaign::v1::{
        campaign_service_server::CampaignServiceServer,
        organisation_service_server::OrganisationServiceServer,
    },
    report::v1::report_service_server::ReportServiceServer,
};
use carillon_outbox::{Outbox, Subscriber};
use carillon_service_kit::{Clock, Database, Stop, rpc::Transport};
use carillon_tenancy::{Tenancy, hash_key};
use tonic::service::Routes;

pub use store::Migrator;

/// What the service is built from.
pub struct Parts {
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    /// To the segment evaluator's internal `AudienceService`.
    pub audience: Transport,
    /// The key that creates organisations.
    pub platform_key: String,
}

/// What the service offers to organisations.
pub struct Service {
    pub public: Routes,
}

/// The state that verbs work on.
#[derive(Clone)]
pub(crate) struct CampaignApi {
    database: Database,
    clock: Clock,
    outbox: Outbox,
    tenancy: Tenancy,
    audience: audience::Audience,
    platform_key: [u8; 32],
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let Parts { database, broker, clock, stop, audience, platform_key } = parts;
    let name = topology::CAMPAIGN_API;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    outbox.spawn(&stop);
    let api = CampaignApi {
        database: database.clone(),
        clock: clock.clone(),
        outbox,
        tenancy: Tenancy::new(database.clone()),
        audience: audience::Audience::new(audience),
        platform_key: hash_key(&platform_key),
    };
    let subscriber = Subscriber::new(name, database, broker, clock);
    let project = Arc::new(report::Project(api.clone()));
    for event in [
        topology::RUN_DUE,
        topology::RUN_MISSED,
        topology::BATCH_PLANNED,
        topology::RUN_PLANNED,
        topology::DELIVERY_CHANGED,
    ] {
        subscriber.spawn(event, project.clone(), &stop);
    }
    let public = Routes::new(OrganisationServiceServer::new(api.clone()))
        .add_service(CampaignServiceServer::new(api.clone()))
        .add_service(ReportServiceServer::new(api));
    Service { public }
}
