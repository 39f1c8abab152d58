//! Each service from its parts, on PostgreSQL and RabbitMQ.

use std::{fmt::Display, sync::Arc};

use axum::Router;
use carillon_broker::{Broker, amqp::AmqpBroker, topology as t};
use carillon_dispatch::Permits;
use carillon_service_kit::{Clock, Database, Stop, egress::Egress, rpc::Transport};
use sea_orm_migration::MigratorTrait;
use tonic::service::Routes;

use super::{config::Config, figures, migrate};
use crate::error::Error;

/// What a service offers on its two listeners.
#[derive(Default)]
pub(super) struct Offered {
    pub public: Routes,
    pub internal: Routes,
    pub http: Router,
}

/// What every service is built from.
struct Ground {
    database: Database,
    broker: Arc<dyn Broker>,
    clock: Clock,
    stop: Stop,
}

pub(super) async fn start(
    service: &'static str,
    config: Config,
    broker: AmqpBroker,
    stop: &Stop,
) -> Result<Offered, Error> {
    let start = Start { service, config, broker: Arc::new(broker), stop };
    match service {
        t::CAMPAIGN_API => start.campaign_api().await,
        t::SCHEDULER => start.scheduler().await,
        t::SEGMENT_EVALUATOR => start.segment_evaluator().await,
        t::SMS_DISPATCHER => start.sms_dispatcher().await,
        t::EMAIL_DISPATCHER => start.email_dispatcher().await,
        t::BILLING => start.billing().await,
        other => Err(Error::usage(format!("'{other}' is no service"))),
    }
}

struct Start<'a> {
    service: &'static str,
    config: Config,
    broker: Arc<dyn Broker>,
    stop: &'a Stop,
}

impl Start<'_> {
    async fn ground<M: MigratorTrait>(&self) -> Result<Ground, Error> {
        let at = self.config.database.of(self.service)?;
        let database = migrate::connect::<M>(self.service, &at).await?;
        let clock = Clock::following(&database, self.stop).await.map_err(failed)?;
        figures::watch(self.service, &database, &clock);
        Ok(Ground { database, clock, broker: Arc::clone(&self.broker), stop: self.stop.clone() })
    }

    fn peer(&self, service: &str) -> Result<Transport, Error> {
        self.config.services.to(service)
    }

    async fn billing(self) -> Result<Offered, Error> {
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_billing::Migrator>().await?;
        let config = self.config.billing;
        let started = carillon_billing::start(carillon_billing::Parts {
            database,
            broker,
            clock,
            stop,
            config,
        });
        Ok(Offered { public: started.public, internal: started.internal, ..Offered::default() })
    }

    async fn scheduler(self) -> Result<Offered, Error> {
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_scheduler::Migrator>().await?;
        let started =
            carillon_scheduler::start(carillon_scheduler::Parts { database, broker, clock, stop });
        Ok(Offered { public: started.public, internal: started.internal, ..Offered::default() })
    }

    async fn segment_evaluator(self) -> Result<Offered, Error> {
        let wrapping_key = self.config.wrapping_key()?;
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_segment_evaluator::Migrator>().await?;
        let started = carillon_segment_evaluator::start(carillon_segment_evaluator::Parts {
            database,
            broker,
            clock,
            stop,
            wrapping_key,
            public_url: self.config.public_url,
        });
        Ok(Offered { public: started.public, internal: started.internal, ..Offered::default() })
    }

    async fn sms_dispatcher(self) -> Result<Offered, Error> {
        let (key, billing) = (self.config.wrapping_key()?, self.peer(t::BILLING)?);
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_sms_dispatcher::Migrator>().await?;
        let started = carillon_sms_dispatcher::start(carillon_sms_dispatcher::Parts {
            database,
            broker,
            clock,
            stop,
            key,
            permits: Permits::default(),
            billing,
            egress: Egress::new(self.config.egress),
            public_url: self.config.public_url,
            outbox: self.config.sandbox_outbox,
            config: self.config.sms_dispatcher,
        })
        .await
        .map_err(failed)?;
        Ok(Offered { internal: started.internal, http: started.http, ..Offered::default() })
    }

    async fn email_dispatcher(self) -> Result<Offered, Error> {
        let key = self.config.wrapping_key()?;
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_email_dispatcher::Migrator>().await?;
        let started = carillon_email_dispatcher::start(carillon_email_dispatcher::Parts {
            database,
            broker,
            clock,
            stop,
            key,
            permits: Permits::default(),
            egress: Egress::new(self.config.egress),
            public_url: self.config.public_url,
            outbox: self.config.sandbox_outbox,
            config: self.config.email_dispatcher,
        })
        .await
        .map_err(failed)?;
        Ok(Offered { internal: started.internal, ..Offered::default() })
    }

    async fn campaign_api(self) -> Result<Offered, Error> {
        let platform_key = self.config.platform_key()?;
        let wrapping_key = self.config.wrapping_key()?;
        let others = t::SERVICES.into_iter().filter(|service| *service != t::CAMPAIGN_API);
        let operators = others
            .map(|service| Ok((service, self.peer(service)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let (audience, email_dispatcher) =
            (self.peer(t::SEGMENT_EVALUATOR)?, self.peer(t::EMAIL_DISPATCHER)?);
        let Ground { database, broker, clock, stop } =
            self.ground::<carillon_campaign_api::Migrator>().await?;
        let started = carillon_campaign_api::start(carillon_campaign_api::Parts {
            database,
            broker,
            clock,
            stop,
            audience,
            email_dispatcher,
            operators,
            wrapping_key,
            public_url: self.config.public_url,
            platform_key,
        });
        Ok(Offered { public: started.public, internal: started.internal, http: started.http })
    }
}

fn failed(error: impl Display) -> Error {
    Error::failed(format!("starting: {error}"))
}
