//! WHAT: organisations and their keys, campaigns and saved texts, and `report/`, the projection of
//! what became of them.

mod alerts;
mod archive_campaign;
mod audience;
mod audit;
mod copy_campaign;
mod count_sms;
mod create_campaign;
mod create_organisation;
mod create_template;
mod documents;
mod domain;
mod get_template;
mod grpc;
mod halt_campaign;
mod keys;
mod list_campaigns;
mod list_templates;
mod look_ahead;
mod next_runs;
mod operators;
mod pages;
mod pin_template;
mod replies_url;
mod report;
mod request;
mod settings;
mod start_campaign;
mod store;
mod test_campaign;
mod unsubscribe;
mod update_campaign;
mod update_organisation;
mod update_template;

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_contracts::{
    campaign::v1::{
        audit_service_server::AuditServiceServer, campaign_service_server::CampaignServiceServer,
        content_service_server::ContentServiceServer, key_service_server::KeyServiceServer,
        organisation_service_server::OrganisationServiceServer,
        template_service_server::TemplateServiceServer,
    },
    ops::v1::operator_service_server::OperatorServiceServer,
    report::v1::report_service_server::ReportServiceServer,
};
use carillon_operator::Operator;
use carillon_outbox::{Outbox, Subscriber};
use carillon_sealing::{Links, ReplyLinks, WrappingKey};
use carillon_service_kit::{
    Clock, Database, Stop,
    rpc::{Transport, in_process},
};
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
    /// To the e-mail dispatcher's internal `SettingsService`.
    pub email_dispatcher: Transport,
    /// To the internal `OperatorService` of every other service, by its name.
    pub operators: Vec<(&'static str, Transport)>,
    /// Seals secrets of settings, and proves unsubscribe links.
    pub wrapping_key: WrappingKey,
    /// The address under which customers reach `Service::http`, such as
    /// `https://carillon.example`.
    pub public_url: String,
    /// The key that creates organisations.
    pub platform_key: String,
}

/// What the service offers.
pub struct Service {
    /// gRPC for organisations and operators.
    pub public: Routes,
    /// gRPC between services.
    pub internal: Routes,
    /// Pages for customers.
    pub http: axum::Router,
}

/// The state that verbs work on.
#[derive(Clone)]
pub(crate) struct CampaignApi {
    database: Database,
    clock: Clock,
    outbox: Outbox,
    tenancy: Tenancy,
    audience: audience::Audience,
    email_dispatcher: Transport,
    wrapping_key: WrappingKey,
    links: Links,
    reply_links: ReplyLinks,
    platform_key: [u8; 32],
}

/// Builds the parts and starts the tasks.
pub fn start(parts: Parts) -> Service {
    let name = topology::CAMPAIGN_API;
    let Parts { database, broker, clock, stop, audience, email_dispatcher, .. } = parts;
    let Parts { operators, wrapping_key, public_url, platform_key, .. } = parts;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    outbox.spawn(&stop);
    let subscriber = Subscriber::new(name, database.clone(), broker, clock.clone());
    let api = CampaignApi {
        database: database.clone(),
        clock,
        outbox,
        tenancy: Tenancy::new(database.clone()),
        audience: audience::Audience::new(audience),
        email_dispatcher,
        links: Links::new(&public_url, &wrapping_key),
        reply_links: ReplyLinks::new(&public_url, &wrapping_key),
        wrapping_key,
        platform_key: hash_key(&platform_key),
    };
    let organisations = Arc::new(documents::Organisations(api.clone()));
    api.outbox.spawn_documents(topology::ORGANISATION_CHANGED, organisations, &stop);
    let halts = Arc::new(documents::Halts(api.clone()));
    api.outbox.spawn_documents(topology::CAMPAIGN_HALTED, halts, &stop);
    report::watch(&api.database, &api.clock);
    let (counting, stopping) = (api.clone(), stop.clone());
    stop.keep("report recount", move || counting.clone().recount(stopping.clone()));
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
    let alerts = Arc::new(alerts::Alerts(api.clone()));
    for event in [topology::BALANCE_LOW, topology::GATEWAY_CHANGED] {
        subscriber.spawn(event, alerts.clone(), &stop);
    }
    subscriber.spawn(topology::AUDIT_RECORDED, Arc::new(audit::Recorded), &stop);
    let internal = Operator::new(name, database, subscriber).routes();
    let mut services = vec![(name, in_process(internal.clone()))];
    services.extend(operators.into_iter().filter(|(other, _)| *other != name));
    let operators = operators::Operators::new(api.clone(), services);
    let public = Routes::new(OrganisationServiceServer::new(api.clone()))
        .add_service(KeyServiceServer::new(api.clone()))
        .add_service(AuditServiceServer::new(api.clone()))
        .add_service(CampaignServiceServer::new(api.clone()))
        .add_service(ContentServiceServer::new(api.clone()))
        .add_service(TemplateServiceServer::new(api.clone()))
        .add_service(ReportServiceServer::new(api.clone()))
        .add_service(OperatorServiceServer::new(operators));
    Service { public, internal, http: unsubscribe::routes(api) }
}
