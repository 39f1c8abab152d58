use carillon_audit::CreateAudit;
use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_service_kit::database::{differs, run_migration};
use carillon_tenancy::{CreateTenancy, NameKeys};
use sea_orm_migration::prelude::*;

use crate::report::{AddCredits, CreateRecount, CreateReport};

/// The service's tables.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(CreateAudit),
            Box::new(CreateCampaigns),
            Box::new(CreateReport),
            Box::new(ArchiveCampaigns),
            Box::new(AddTestKeys),
            Box::new(AddDocuments),
            Box::new(CreateRecount),
            Box::new(AddSmsStandby),
            Box::new(AddRates),
            Box::new(AddCredits),
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
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

struct ArchiveCampaigns;

impl MigrationName for ArchiveCampaigns {
    fn name(&self) -> &str {
        "m0102_archive_campaigns"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ArchiveCampaigns {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = differs(
            "ALTER TABLE campaigns ADD COLUMN archived_at INTEGER;",
            "ALTER TABLE campaigns ADD COLUMN archived_at BIGINT;",
        );
        run_migration(manager, sql).await
    }
}

struct AddTestKeys;

impl MigrationName for AddTestKeys {
    fn name(&self) -> &str {
        "m0103_add_test_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddTestKeys {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE api_keys ADD COLUMN test BOOLEAN NOT NULL DEFAULT FALSE";
        run_migration(manager, sql).await
    }
}

struct AddSmsStandby;

impl MigrationName for AddSmsStandby {
    fn name(&self) -> &str {
        "m0104_add_sms_standby"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddSmsStandby {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = differs(
            "ALTER TABLE organisations ADD COLUMN sms_standby BLOB;",
            "ALTER TABLE organisations ADD COLUMN sms_standby BYTEA;",
        );
        run_migration(manager, sql).await
    }
}

/// A JSON object of credits by region.
struct AddRates;

impl MigrationName for AddRates {
    fn name(&self) -> &str {
        "m0105_add_rates"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddRates {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rates = differs(
            "ALTER TABLE organisations ADD COLUMN rates TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE organisations ADD COLUMN rates TEXT COLLATE \"C\" NOT NULL DEFAULT '{}'",
        );
        run_migration(manager, rates).await
    }
}

/// `markets` are words with blanks between them; `smtp`, `sms` and `document` are messages of the
/// contracts. A version of a template is never changed, and a deleted template keeps all of them;
/// only its name is free again. A revoked key stays, so that revoking it again is known to be that.
/// `told` and `halt_told` are the events that last told of a change.
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
    low_balance INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    markets TEXT NOT NULL,
    smtp BLOB,
    sms BLOB,
    created_at INTEGER NOT NULL,
    told INTEGER,
    request_id TEXT UNIQUE,
    request_hash BLOB
) WITHOUT ROWID;
CREATE TABLE organisation_secrets (
    organisation_id BLOB NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    PRIMARY KEY (organisation_id, name)
) WITHOUT ROWID;
CREATE TABLE api_keys (
    key_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX api_keys_by_organisation ON api_keys (organisation_id, created_at, key_id);
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX alerts_by_organisation ON alerts (organisation_id, number);
CREATE TABLE campaigns (
    campaign_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    document BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    halt_told INTEGER,
    request_id TEXT,
    request_hash BLOB,
    is_test INTEGER NOT NULL,
    UNIQUE (organisation_id, request_id)
);
CREATE INDEX campaigns_by_organisation ON campaigns (organisation_id, created_at, campaign_id)
    WHERE NOT is_test;
CREATE TABLE templates (
    template_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    request_id TEXT,
    request_hash BLOB,
    UNIQUE (organisation_id, request_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX templates_by_name ON templates (organisation_id, name) WHERE deleted_at IS NULL;
CREATE INDEX templates_by_organisation ON templates (organisation_id, created_at, template_id);
CREATE TABLE template_versions (
    template_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    document BLOB NOT NULL,
    saved_at INTEGER NOT NULL,
    PRIMARY KEY (template_id, version)
);
";

const POSTGRES: &str = "
CREATE TABLE organisations (
    organisation_id UUID PRIMARY KEY,
    version BIGINT NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    time_zone TEXT COLLATE \"C\" NOT NULL,
    default_region TEXT COLLATE \"C\" NOT NULL,
    consent_default BIGINT NOT NULL,
    require_consent BOOLEAN NOT NULL,
    subscribe_default BOOLEAN NOT NULL,
    double_opt_in BOOLEAN NOT NULL,
    low_balance BIGINT NOT NULL,
    paused BOOLEAN NOT NULL,
    markets TEXT COLLATE \"C\" NOT NULL,
    smtp BYTEA,
    sms BYTEA,
    created_at BIGINT NOT NULL,
    told BIGINT,
    request_id TEXT COLLATE \"C\" UNIQUE,
    request_hash BYTEA
);
CREATE TABLE organisation_secrets (
    organisation_id UUID NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    key_id TEXT COLLATE \"C\" NOT NULL,
    wrapped_key BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    PRIMARY KEY (organisation_id, name)
);
CREATE TABLE api_keys (
    key_id UUID PRIMARY KEY,
    organisation_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    prefix TEXT COLLATE \"C\" NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_organisation ON api_keys (organisation_id, created_at, key_id);
CREATE TABLE alerts (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id UUID NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX alerts_by_organisation ON alerts (organisation_id, number);
CREATE TABLE campaigns (
    campaign_id UUID PRIMARY KEY,
    organisation_id UUID NOT NULL,
    version BIGINT NOT NULL,
    state TEXT COLLATE \"C\" NOT NULL,
    document BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    halt_told BIGINT,
    request_id TEXT COLLATE \"C\",
    request_hash BYTEA,
    is_test BOOLEAN NOT NULL,
    UNIQUE (organisation_id, request_id)
);
CREATE INDEX campaigns_by_organisation ON campaigns (organisation_id, created_at, campaign_id)
    WHERE NOT is_test;
CREATE TABLE templates (
    template_id UUID PRIMARY KEY,
    organisation_id UUID NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    request_id TEXT COLLATE \"C\",
    request_hash BYTEA,
    UNIQUE (organisation_id, request_id)
);
CREATE UNIQUE INDEX templates_by_name ON templates (organisation_id, name) WHERE deleted_at IS NULL;
CREATE INDEX templates_by_organisation ON templates (organisation_id, created_at, template_id);
CREATE TABLE template_versions (
    template_id UUID NOT NULL,
    version BIGINT NOT NULL,
    document BYTEA NOT NULL,
    saved_at BIGINT NOT NULL,
    PRIMARY KEY (template_id, version)
);
";
