//! gRPC health: of the process, and of each gRPC service by name.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carillon_broker::topology::{self, SERVICES};
use carillon_service_kit::{Stop, rpc::Transport};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest,
        health_check_response::ServingStatus as Answer,
        health_client::HealthClient,
        health_server::{Health as HealthRpc, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

use super::config::Services;
use crate::error::Error;

/// How often campaign-api, which answers for all, asks the others.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    serving: Arc<AtomicBool>,
}

impl Default for Health {
    fn default() -> Self {
        Self { reporter: HealthReporter::new(), serving: Arc::default() }
    }
}

impl Health {
    pub(super) fn server(&self) -> HealthServer<impl HealthRpc> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// The process serves, and these gRPC services with it.
    pub(crate) async fn serving(&self, names: &[String]) {
        for name in names {
            self.reporter.set_service_status(name, ServingStatus::Serving).await;
        }
        self.reporter.set_service_status("", ServingStatus::Serving).await;
        self.serving.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn stopping(&self) {
        self.serving.store(false, Ordering::Relaxed);
        let all = SERVICES.into_iter().flat_map(services_of);
        for name in all.chain([String::new()]) {
            self.reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Answers for the other services what they answer themselves.
    pub(super) fn mirror(&self, services: &Services, stop: &Stop) -> Result<(), Error> {
        for service in SERVICES {
            if service == topology::CAMPAIGN_API || services.url(service).is_none() {
                continue;
            }
            let (health, stopping) = (self.clone(), stop.clone());
            let peer = services.to(service)?;
            stop.spawn("health of others", async move {
                loop {
                    health.note(service, is_serving(peer.clone()).await).await;
                    if !stopping.sleep(EVERY).await {
                        return Ok::<(), Error>(());
                    }
                }
            });
        }
        Ok(())
    }

    async fn note(&self, service: &str, serving: bool) {
        if !self.is_serving() {
            return;
        }
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in services_of(service) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

async fn is_serving(peer: Transport) -> bool {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.set_timeout(EVERY);
    let answer = HealthClient::new(peer).check(request).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == Answer::Serving)
}

/// The gRPC services that a service answers to organisations, by full name.
pub(crate) fn services_of(service: &str) -> Vec<String> {
    let Ok(files) = FileDescriptorSet::decode(carillon_contracts::DESCRIPTORS) else {
        return Vec::new();
    };
    let owned = files.file.iter().filter(|file| owner(file.package()) == Some(service));
    owned
        .flat_map(|file| {
            file.service.iter().map(|service| format!("{}.{}", file.package(), service.name()))
        })
        .collect()
}

/// Those that are answered to other services alone, and who answers them.
const INTERNAL: [(&str, &str); 3] = [
    (topology::SEGMENT_EVALUATOR, "carillon.audience.v1.AudienceService"),
    (topology::BILLING, "carillon.billing.v1.HoldService"),
    (topology::EMAIL_DISPATCHER, "carillon.dispatch.v1.SettingsService"),
];
/// Asks each service on the internal listeners, and is asked at the one address.
const OPERATORS: &str = "carillon.ops.v1.OperatorService";

fn is_internal(name: &str) -> bool {
    INTERNAL.iter().any(|(_, internal)| *internal == name)
}

/// What reflection lists at the listener for organisations. campaign-api answers it for the one
/// address, and so for all.
pub(crate) fn public_services(service: &str) -> Vec<String> {
    let all = service == topology::CAMPAIGN_API;
    let answering = SERVICES.into_iter().filter(|one| all || *one == service);
    answering.flat_map(services_of).filter(|name| !is_internal(name)).collect()
}

/// And at the listener for other services.
pub(super) fn internal_services(service: &str) -> Vec<String> {
    let own = INTERNAL.into_iter().filter(|(owner, _)| *owner == service);
    own.map(|(_, name)| name).chain([OPERATORS]).map(str::to_owned).collect()
}

/// Who answers a package at the one address. What a proxy in front knows is held against this.
pub(crate) fn owner(package: &str) -> Option<&'static str> {
    match package {
        "carillon.campaign.v1" | "carillon.report.v1" | "carillon.ops.v1" => {
            Some(topology::CAMPAIGN_API)
        }
        "carillon.audience.v1" => Some(topology::SEGMENT_EVALUATOR),
        "carillon.schedule.v1" => Some(topology::SCHEDULER),
        "carillon.billing.v1" => Some(topology::BILLING),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_with_services_has_an_owner_or_is_between_services() {
        let files =
            FileDescriptorSet::decode(carillon_contracts::DESCRIPTORS).expect("descriptors");
        for file in files.file.iter().filter(|file| !file.service.is_empty()) {
            let package = file.package();
            let known = owner(package).is_some()
                || file.service.iter().all(|one| is_internal(&format!("{package}.{}", one.name())));
            assert!(known, "{package}: say in `owner` who answers it");
        }
        assert!(services_of("billing").contains(&"carillon.billing.v1.AccountService".to_owned()));
    }

    #[test]
    fn each_listener_lists_what_it_answers() {
        assert_eq!(public_services("billing"), ["carillon.billing.v1.AccountService"]);
        assert_eq!(
            internal_services("billing"),
            ["carillon.billing.v1.HoldService", "carillon.ops.v1.OperatorService"]
        );
        assert!(public_services("email-dispatcher").is_empty());
        let all = public_services("campaign-api");
        assert!(all.iter().any(|name| name == "carillon.audience.v1.CustomerService"));
        assert!(!all.iter().any(|name| is_internal(name)), "{all:?}");
    }

    #[test]
    fn proxies_route_every_package_to_its_owner() {
        let read = |path: &str| {
            let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let nginx = read("deploy/nginx/routes.conf");
        let gateway = read("k8s/components/gateway/grpcroute.yaml");
        let files =
            FileDescriptorSet::decode(carillon_contracts::DESCRIPTORS).expect("descriptors");
        for file in files.file.iter().filter(|file| !file.service.is_empty()) {
            let Some(owner) = owner(file.package()) else { continue };
            let package = file.package();
            let location = format!("location /{package}. {{ grpc_pass grpc://{owner}; }}");
            assert!(nginx.contains(&location), "deploy/nginx/routes.conf lacks: {location}");
            for service in &file.service {
                let name = format!("{package}.{}", service.name());
                if is_internal(&name) {
                    assert!(!gateway.contains(&name), "{name} is between services");
                } else {
                    let rule = gateway.split("- matches:").find(|rule| rule.contains(&name));
                    let rule = rule.unwrap_or_else(|| panic!("grpcroute.yaml lacks {name}"));
                    assert!(
                        rule.contains(&format!("name: carillon-{owner}\n")),
                        "{name} goes to {owner}"
                    );
                }
            }
        }
    }
}
