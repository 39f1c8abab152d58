use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_service_kit::database::{differs, run_migration};
use carillon_tenancy::{CreateTenancy, NameKeys};
use sea_orm_migration::prelude::*;

/// The tables of a dispatcher, whatever its channel.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(CreateDispatch),
            Box::new(super::controls::CreateControls),
            Box::new(AddDocuments),
            Box::new(super::controls::AddConsent),
            Box::new(super::leases::AddLeases),
            Box::new(GiveBack),
            Box::new(AddParts),
            Box::new(AddProviderParts),
        ]
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
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// What batches gave back of their grants.
struct GiveBack;

impl MigrationName for GiveBack {
    fn name(&self) -> &str {
        "m0102_give_back"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for GiveBack {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = differs(
            "ALTER TABLE batches ADD COLUMN returned INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE batches ADD COLUMN returned BIGINT NOT NULL DEFAULT 0",
        );
        run_migration(manager, sql).await
    }
}

/// Of rows written before, as many as their units.
struct AddParts;

impl MigrationName for AddParts {
    fn name(&self) -> &str {
        "m0105_add_parts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddParts {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let parts = differs(
            "ALTER TABLE messages ADD COLUMN parts INTEGER",
            "ALTER TABLE messages ADD COLUMN parts BIGINT",
        );
        run_migration(manager, parts).await
    }
}

/// As providers count them, where they say so.
struct AddProviderParts;

impl MigrationName for AddProviderParts {
    fn name(&self) -> &str {
        "m0106_add_provider_parts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddProviderParts {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let parts = differs(
            "ALTER TABLE messages ADD COLUMN provider_parts INTEGER",
            "ALTER TABLE messages ADD COLUMN provider_parts BIGINT",
        );
        run_migration(manager, parts).await
    }
}

const SQLITE: &str = "
CREATE TABLE workers (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE heartbeats (
    epoch INTEGER PRIMARY KEY,
    beats INTEGER NOT NULL
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
    asked_raises INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    waits_for_money INTEGER NOT NULL DEFAULT 0,
    next_due_at INTEGER,
    job BLOB,
    PRIMARY KEY (run_day, id)
) WITHOUT ROWID;
CREATE INDEX batches_due ON batches (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX batches_for_money ON batches (organisation_id) WHERE waits_for_money;
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
    idempotent INTEGER NOT NULL,
    doubtful INTEGER NOT NULL DEFAULT 0,
    account TEXT NOT NULL,
    next_attempt_at INTEGER,
    changed_at INTEGER NOT NULL,
    provider_id TEXT NOT NULL DEFAULT '',
    provider_code TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_day, id)
) WITHOUT ROWID;
CREATE INDEX messages_by_batch ON messages (batch_id, position);
CREATE INDEX messages_sending ON messages (worker_epoch) WHERE state = 'sending';
";

/// A day begins empty and grows for hours before anybody counts its rows: a plan made for the empty
/// partition and kept, or one that takes a scan of it for cheap, would read the whole day for every
/// micro-batch. So the day, which all rows of a partition share, leads no index. Of heartbeats, beats alone change, and in place: they are many.
const POSTGRES: &str = r#"
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET plan_cache_mode = force_custom_plan', current_database());
    EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'not the owner of the database; have its plan_cache_mode and enable_seqscan set';
END $$;
CREATE TABLE workers (
    epoch BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at BIGINT NOT NULL,
    dead BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE heartbeats (
    epoch BIGINT PRIMARY KEY,
    beats BIGINT NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE batches (
    run_day BIGINT NOT NULL,
    id UUID NOT NULL,
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    run_id UUID NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    deadline_at BIGINT NOT NULL,
    count BIGINT NOT NULL,
    wanted BIGINT NOT NULL,
    granted BIGINT NOT NULL DEFAULT 0,
    asked_raises BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL DEFAULT 0,
    accepted BOOLEAN NOT NULL DEFAULT FALSE,
    closed BOOLEAN NOT NULL DEFAULT FALSE,
    waits_for_money BOOLEAN NOT NULL DEFAULT FALSE,
    next_due_at BIGINT,
    job BYTEA,
    PRIMARY KEY (id, run_day)
) PARTITION BY LIST (run_day);
CREATE INDEX batches_due ON batches (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX batches_for_money ON batches (organisation_id) WHERE waits_for_money;
CREATE TABLE raises (
    organisation_id UUID PRIMARY KEY,
    count BIGINT NOT NULL
);
CREATE TABLE messages (
    run_day BIGINT NOT NULL,
    id UUID NOT NULL,
    batch_id UUID NOT NULL,
    position BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    units BIGINT NOT NULL,
    worker_epoch BIGINT NOT NULL,
    claim BIGINT NOT NULL,
    idempotent BOOLEAN NOT NULL,
    doubtful BOOLEAN NOT NULL DEFAULT FALSE,
    account TEXT COLLATE "C" NOT NULL,
    next_attempt_at BIGINT,
    changed_at BIGINT NOT NULL,
    provider_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    provider_code TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (id, run_day)
) PARTITION BY LIST (run_day);
CREATE INDEX messages_by_batch ON messages (batch_id, position);
CREATE INDEX messages_sending ON messages (worker_epoch) WHERE state = 'sending';
"#;
