//! All six services on embedded parts, behind one address.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use carillon_broker::{
    Broker,
    memory::MemoryBroker,
    topology::{self, SERVICES},
};
use carillon_dispatch::Permits;
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop, egress::Egress, metrics, rpc};
use carillon_tenancy::PLATFORM_PREFIX;
use sea_orm_migration::MigratorTrait;
use tokio::net::TcpListener;

use super::{GRACE, config::Config, folder::Folder};
use crate::{
    error::Error,
    serve::{Front, Health, operations, public_services, services_of, watch},
};

/// A running server. The data folder stays locked while it lives.
pub struct Server {
    pub url: String,
    pub platform_key: String,
    pub stop: Stop,
    health: Health,
    _folder: Folder,
}

impl Server {
    /// Finishes what is under way, for `GRACE` at most.
    pub async fn stop(&self) -> Result<(), Error> {
        self.health.stopping().await;
        self.stop.now();
        if self.stop.drained(GRACE).await {
            return Ok(());
        }
        Err(Error::failed(format!(
            "stopped hard after {} s; what was under way is taken over at the next start; still \
             running: {}",
            GRACE.as_secs(),
            self.stop.running().join(", ")
        )))
    }
}

/// Starts everything; returns once the address answers.
pub async fn start(data: &Path, port: u16, mut config: Config) -> Result<Server, Error> {
    config.sms_dispatcher.sandbox.enabled = true;
    config.email_dispatcher.sandbox.enabled = true;
    let folder = Folder::lock(data)?;
    // Whoever waits for it would find the address of an earlier start.
    let address = folder.join("server");
    if address.exists() {
        std::fs::remove_file(&address)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        Error::failed(format!("--port: {port} cannot be listened on: {error}; give another, or 0"))
    })?;
    let key = match &config.wrapping_key {
        Some(file) => {
            WrappingKey::from_hex(&file.read().map_err(|error| Error::failed(error.to_string()))?)
                .map_err(|error| Error::failed(format!("wrapping_key: {error}")))?
        }
        None => folder.wrapping_key()?,
    };
    let platform_key = folder.secret("api-key", || {
        let random = WrappingKey::generate_hex();
        let random = random.map_err(|error| Error::failed(error.to_string()))?;
        Ok(format!("{PLATFORM_PREFIX}{random}"))
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = Stop::within(GRACE);
    metrics::start(&stop).map_err(Error::failed)?;
    let health = Health::default();
    let public_url = config.public_url.clone().unwrap_or_else(|| url.clone());
    let parts = Embedded { folder: &folder, stop: stop.clone(), key, public_url };
    let mut front = parts.services(&platform_key, config).await?;
    front.http = front.http.merge(operations(health.clone()));
    front.serve(listener, &health, &stop)?;
    health.serving(&SERVICES.into_iter().flat_map(services_of).collect::<Vec<_>>()).await;
    std::fs::write(address, format!("{url}\n"))?;
    Ok(Server { url, platform_key, stop, health, _folder: folder })
}

struct Embedded<'a> {
    folder: &'a Folder,
    stop: Stop,
    key: WrappingKey,
    public_url: String,
}

impl Embedded<'_> {
    async fn database<M: MigratorTrait>(&self, service: &'static str) -> Result<Database, Error> {
        let path = self.folder.join(&format!("{service}.db"));
        let database = Database::open_sqlite::<M>(&path)
            .await
            .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
        watch(service, &database, &Clock::system());
        Ok(database)
    }

    /// Each service gets its own database; they meet through the broker and their contracts.
    async fn services(&self, platform_key: &str, config: Config) -> Result<Front, Error> {
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
        let (clock, permits) = (Clock::system(), Permits::default());
        let failed = |error: &dyn std::fmt::Display| Error::failed(format!("starting: {error}"));
        let outbox = self.folder.join("outbox");

        let billing = carillon_billing::start(carillon_billing::Parts {
            database: self.database::<carillon_billing::Migrator>("billing").await?,
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: self.stop.clone(),
            config: config.billing,
        });
        let evaluator = carillon_segment_evaluator::start(carillon_segment_evaluator::Parts {
            database: self
                .database::<carillon_segment_evaluator::Migrator>("segment-evaluator")
                .await?,
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: self.stop.clone(),
            wrapping_key: self.key.clone(),
            public_url: self.public_url.clone(),
        });
        let scheduler = carillon_scheduler::start(carillon_scheduler::Parts {
            database: self.database::<carillon_scheduler::Migrator>("scheduler").await?,
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: self.stop.clone(),
        });
        let sms = carillon_sms_dispatcher::start(carillon_sms_dispatcher::Parts {
            database: self.database::<carillon_sms_dispatcher::Migrator>("sms-dispatcher").await?,
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: self.stop.clone(),
            key: self.key.clone(),
            permits: permits.clone(),
            billing: rpc::in_process(billing.internal.clone()),
            egress: Egress::new(config.egress),
            public_url: self.public_url.clone(),
            outbox: outbox.clone(),
            config: config.sms_dispatcher,
        })
        .await
        .map_err(|error| failed(&error))?;
        let email = carillon_email_dispatcher::start(carillon_email_dispatcher::Parts {
            database: self
                .database::<carillon_email_dispatcher::Migrator>("email-dispatcher")
                .await?,
            broker: Arc::clone(&broker),
            clock: clock.clone(),
            stop: self.stop.clone(),
            key: self.key.clone(),
            permits,
            egress: Egress::new(config.egress),
            public_url: self.public_url.clone(),
            outbox,
            config: config.email_dispatcher,
        })
        .await
        .map_err(|error| failed(&error))?;
        let others = [
            (topology::BILLING, billing.internal),
            (topology::SCHEDULER, scheduler.internal),
            (topology::SMS_DISPATCHER, sms.internal),
            (topology::SEGMENT_EVALUATOR, evaluator.internal.clone()),
            (topology::EMAIL_DISPATCHER, email.internal.clone()),
        ];
        let campaigns = carillon_campaign_api::start(carillon_campaign_api::Parts {
            database: self.database::<carillon_campaign_api::Migrator>("campaign-api").await?,
            broker,
            clock,
            stop: self.stop.clone(),
            audience: rpc::in_process(evaluator.internal),
            email_dispatcher: rpc::in_process(email.internal),
            operators: others.map(|(name, routes)| (name, rpc::in_process(routes))).into(),
            wrapping_key: self.key.clone(),
            public_url: self.public_url.clone(),
            platform_key: platform_key.to_owned(),
        });
        let public = [billing.public, evaluator.public, scheduler.public, campaigns.public];
        Ok(Front {
            routes: rpc::merge(public),
            http: campaigns.http.merge(sms.http),
            listed: public_services(topology::CAMPAIGN_API),
        })
    }
}
