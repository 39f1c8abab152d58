//! Tables: bringing them up to date, and seeing that they are.

use carillon_broker::topology as t;
use carillon_service_kit::{
    Database,
    database::{Postgres, in_words},
};
use sea_orm_migration::{MigratorTrait, sea_orm::DbErr};

use super::config::Config;
use crate::error::Error;

pub(super) async fn migrate(service: &str, config: &Config) -> Result<(), Error> {
    let at = config.database.of(service)?;
    reach(service, &at, |told| note!("{service}: {told}")).await?;
    let migrated = match service {
        t::CAMPAIGN_API => Database::migrate_postgres::<carillon_campaign_api::Migrator>(&at).await,
        t::SCHEDULER => Database::migrate_postgres::<carillon_scheduler::Migrator>(&at).await,
        t::SEGMENT_EVALUATOR => {
            Database::migrate_postgres::<carillon_segment_evaluator::Migrator>(&at).await
        }
        t::SMS_DISPATCHER => {
            Database::migrate_postgres::<carillon_sms_dispatcher::Migrator>(&at).await
        }
        t::EMAIL_DISPATCHER => {
            Database::migrate_postgres::<carillon_email_dispatcher::Migrator>(&at).await
        }
        t::BILLING => Database::migrate_postgres::<carillon_billing::Migrator>(&at).await,
        other => return Err(Error::usage(format!("'{other}' is no service"))),
    };
    migrated.map_err(|error| tables(service, &error))
}

async fn reach(service: &str, at: &Postgres, told: impl Fn(&str)) -> Result<(), Error> {
    let reached = at.reach(told).await;
    reached.map_err(|error| Error::failed(format!("the database of {service}: {error}")))
}

fn tables(service: &str, error: &DbErr) -> Error {
    Error::failed(format!("the tables of {service}: {}", in_words(error)))
}

/// Connects to tables that are up to date, or says what to do.
pub(super) async fn connect<M: MigratorTrait>(
    service: &str,
    at: &Postgres,
) -> Result<Database, Error> {
    reach(service, at, |told| tracing::warn!(service, "the database: {told}")).await?;
    let database = Database::connect_postgres(at).await.map_err(|error| {
        Error::failed(format!("the database of {service}: {}", in_words(&error)))
    })?;
    let pending = database.pending::<M>().await.map_err(|error| tables(service, &error))?;
    if pending.is_empty() {
        return Ok(database);
    }
    Err(Error::failed(format!(
        "the tables of {service} are not up to date ({} pending: {}); run `carillon migrate \
         {service}` first",
        pending.len(),
        pending.join(", "),
    )))
}
