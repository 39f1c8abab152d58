use carillon_outbox::CreateOutbox;
use carillon_service_kit::database::run_migration;
use carillon_tenancy::CreateTenancy;
use sea_orm_migration::prelude::*;

/// The tables of a dispatcher, whatever its channel.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOutbox), Box::new(CreateTenancy), Box::new(CreateDispatch)]
    }
}

struct CreateDispatch;

impl MigrationName for CreateDispatch {
    fn name(&self) -> &str {
        "m0100_create_dispatch"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateDispatch {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, SQLITE).await
    }
}

const SQLITE: &str = "
CREATE TABLE workers (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE batches (
    run_day INTEGER NOT NULL,
    id BLOB NOT NULL,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    channel TEXT NOT NULL,
    deadline_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    wanted INTEGER NOT NULL,
    granted INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    waits_for_money INTEGER NOT NULL DEFAULT 0,
    next_due_at INTEGER,
    job BLOB,
    PRIMARY KEY (run_day, id)
) WITHOUT ROWID;
CREATE INDEX batches_due ON batches (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX batches_for_money ON batches (organisation_id) WHERE waits_for_money = 1;
CREATE TABLE raises (
    organisation_id BLOB PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    run_day INTEGER NOT NULL,
    id BLOB NOT NULL,
    batch_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    units INTEGER NOT NULL,
    worker_epoch INTEGER NOT NULL,
    claim INTEGER NOT NULL,
    next_attempt_at INTEGER,
    changed_at INTEGER NOT NULL,
    provider_id TEXT NOT NULL DEFAULT '',
    provider_code TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_day, id)
) WITHOUT ROWID;
CREATE INDEX messages_by_batch ON messages (batch_id, position);
CREATE INDEX messages_sending ON messages (worker_epoch) WHERE state = 'sending';
";
