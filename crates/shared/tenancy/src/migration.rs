use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The projection's tables; every service's migrator has it after the outbox.
pub struct CreateTenancy;

impl MigrationName for CreateTenancy {
    fn name(&self) -> &str {
        "m0001_create_tenancy"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTenancy {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// Says of each key which it is, and whether it is one for tests. One that was told of before has no name until its organisation
/// changes; the migrator has this after the tables.
pub struct NameKeys;

impl MigrationName for NameKeys {
    fn name(&self) -> &str {
        "m0002_name_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for NameKeys {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(NAMES_SQLITE, NAMES_POSTGRES)).await
    }
}

const NAMES_SQLITE: &str = "
ALTER TABLE tenant_keys ADD COLUMN key_id BLOB;
ALTER TABLE tenant_keys ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
ALTER TABLE tenant_keys ADD COLUMN test BOOLEAN NOT NULL DEFAULT FALSE;
";

const NAMES_POSTGRES: &str = "
ALTER TABLE tenant_keys ADD COLUMN key_id UUID;
ALTER TABLE tenant_keys ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
ALTER TABLE tenant_keys ADD COLUMN test BOOLEAN NOT NULL DEFAULT FALSE;
";

const SQLITE: &str = "
CREATE TABLE tenants (
    organisation_id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE tenant_keys (
    hash BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX tenant_keys_by_organisation ON tenant_keys (organisation_id);
";

const POSTGRES: &str = "
CREATE TABLE tenants (
    organisation_id UUID PRIMARY KEY,
    version BIGINT NOT NULL,
    document BYTEA NOT NULL
);
CREATE TABLE tenant_keys (
    hash BYTEA PRIMARY KEY,
    organisation_id UUID NOT NULL
);
CREATE INDEX tenant_keys_by_organisation ON tenant_keys (organisation_id);
";
