use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_service_kit::database::{differs, run_migration};
use carillon_tenancy::{CreateTenancy, NameKeys};
use sea_orm_migration::prelude::*;

/// The service's tables.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(CreateSchedules),
            Box::new(AddDocuments),
        ]
    }
}

struct CreateSchedules;

impl MigrationName for CreateSchedules {
    fn name(&self) -> &str {
        "m0100_create_schedules"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSchedules {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

// A campaign has one row, whichever is heard first: that it was published, or that it was halted.
const SQLITE: &str = "
CREATE TABLE schedules (
    campaign_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    published BLOB,
    traceparent TEXT NOT NULL DEFAULT '',
    next_fire_at INTEGER,
    halt TEXT NOT NULL DEFAULT 'running',
    halt_version INTEGER NOT NULL DEFAULT 0,
    resumed_at INTEGER
);
CREATE INDEX schedules_due ON schedules (next_fire_at)
    WHERE next_fire_at IS NOT NULL AND halt = 'running';
CREATE INDEX schedules_by_organisation ON schedules (organisation_id)
    WHERE next_fire_at IS NOT NULL;
CREATE TABLE runs (
    run_id BLOB PRIMARY KEY,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    occurrence_key TEXT NOT NULL,
    nominal_at INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL,
    missed BOOLEAN NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (campaign_id, occurrence_key)
) WITHOUT ROWID;
CREATE INDEX runs_by_organisation ON runs (organisation_id, nominal_at, run_id);
";

const POSTGRES: &str = r#"
CREATE TABLE schedules (
    campaign_id UUID PRIMARY KEY,
    organisation_id UUID NOT NULL,
    version BIGINT NOT NULL DEFAULT 0,
    published BYTEA,
    traceparent TEXT COLLATE "C" NOT NULL DEFAULT '',
    next_fire_at BIGINT,
    halt TEXT COLLATE "C" NOT NULL DEFAULT 'running',
    halt_version BIGINT NOT NULL DEFAULT 0,
    resumed_at BIGINT
);
CREATE INDEX schedules_due ON schedules (next_fire_at)
    WHERE next_fire_at IS NOT NULL AND halt = 'running';
CREATE INDEX schedules_by_organisation ON schedules (organisation_id)
    WHERE next_fire_at IS NOT NULL;
CREATE TABLE runs (
    run_id UUID PRIMARY KEY,
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    occurrence_key TEXT COLLATE "C" NOT NULL,
    nominal_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    missed BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (campaign_id, occurrence_key)
);
CREATE INDEX runs_by_organisation ON runs (organisation_id, nominal_at, run_id);
"#;
