use carillon_outbox::CreateOutbox;
use carillon_service_kit::database::run_migration;
use carillon_tenancy::CreateTenancy;
use sea_orm_migration::prelude::*;

use crate::report::CreateReport;

/// The service's tables.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(CreateCampaigns),
            Box::new(CreateReport),
        ]
    }
}

struct CreateCampaigns;

impl MigrationName for CreateCampaigns {
    fn name(&self) -> &str {
        "m0100_create_campaigns"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCampaigns {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, SQLITE).await
    }
}

const SQLITE: &str = "
CREATE TABLE organisations (
    organisation_id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    default_region TEXT NOT NULL,
    consent_default INTEGER NOT NULL,
    require_consent INTEGER NOT NULL,
    subscribe_default INTEGER NOT NULL,
    double_opt_in INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    told INTEGER,
    request_id TEXT UNIQUE,
    request_hash BLOB
) WITHOUT ROWID;
CREATE TABLE api_keys (
    hash BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX api_keys_by_organisation ON api_keys (organisation_id);
CREATE TABLE campaigns (
    campaign_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    document BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    request_id TEXT,
    request_hash BLOB,
    UNIQUE (organisation_id, request_id)
);
CREATE INDEX campaigns_by_organisation ON campaigns (organisation_id, created_at, campaign_id);
";
