use carillon_outbox::CreateOutbox;
use carillon_service_kit::database::run_migration;
use carillon_tenancy::CreateTenancy;
use sea_orm_migration::prelude::*;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOutbox), Box::new(CreateTenancy), Box::new(CreateBilling)]
    }
}

struct CreateBilling;

impl MigrationName for CreateBilling {
    fn name(&self) -> &str {
        "m0100_create_billing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateBilling {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, SQLITE).await
    }
}

const SQLITE: &str = "
CREATE TABLE accounts (
    organisation_id BLOB PRIMARY KEY,
    available INTEGER NOT NULL CHECK (available >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    spent INTEGER NOT NULL CHECK (spent >= 0),
    credited INTEGER NOT NULL,
    CHECK (available + held + spent = credited)
) WITHOUT ROWID;
CREATE TABLE credits (
    organisation_id BLOB NOT NULL,
    request_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, request_id)
) WITHOUT ROWID;
CREATE TABLE holds (
    batch_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    wanted INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    version INTEGER NOT NULL,
    needed INTEGER NOT NULL,
    posted INTEGER NOT NULL,
    closed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX holds_short ON holds (organisation_id)
    WHERE closed = 0 AND granted < wanted AND granted < needed;
CREATE TABLE entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    reference TEXT NOT NULL,
    available INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX entries_by_organisation ON entries (organisation_id, number);
";
