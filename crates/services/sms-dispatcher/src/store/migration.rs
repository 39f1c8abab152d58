use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The tables of a dispatcher, and those that SMS alone need.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = carillon_dispatch::Migrator::migrations();
        migrations.push(Box::new(CreateReplies));
        migrations
    }
}

struct CreateReplies;

impl MigrationName for CreateReplies {
    fn name(&self) -> &str {
        "m0200_create_replies"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateReplies {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

const SQLITE: &str = "
CREATE TABLE replies (
    organisation_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    heard_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, fingerprint)
) WITHOUT ROWID;
CREATE INDEX replies_by_age ON replies (heard_at);
";

const POSTGRES: &str = "
CREATE TABLE replies (
    organisation_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    heard_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, fingerprint)
);
CREATE INDEX replies_by_age ON replies (heard_at);
";
