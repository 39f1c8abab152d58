//! Tables: bringing them up to date, and seeing that they are.

use carillon_broker::topology as t;
use carillon_service_kit::{Database, database::Postgres};
use sea_orm_migration::MigratorTrait;

use super::config::Config;
use crate::error::Error;

pub(super) async fn migrate(service: &str, config: &Config) -> Result<(), Error> {
    let at = config.database.of(service)?;
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
    migrated.map_err(|error| Error::failed(format!("the tables of {service}: {error}")))
}

/// Connects to tables that are up to date, or says what to do.
pub(super) async fn connect<M: MigratorTrait>(
    service: &str,
    at: &Postgres,
) -> Result<Database, Error> {
    let database = Database::connect_postgres(at)
        .await
        .map_err(|error| Error::failed(format!("the database of {service}: {error}")))?;
    let pending = database
        .pending::<M>()
        .await
        .map_err(|error| Error::failed(format!("the tables of {service}: {error}")))?;
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
