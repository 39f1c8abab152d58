use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The report's tables.
pub(crate) struct CreateReport;

impl MigrationName for CreateReport {
    fn name(&self) -> &str {
        "m0101_create_report"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateReport {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// How far the nightly recount has come, and the batches that it found to differ.
pub(crate) struct CreateRecount;

impl MigrationName for CreateRecount {
    fn name(&self) -> &str {
        "m0102_create_recount"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateRecount {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(RECOUNT_ON_SQLITE, RECOUNT_ON_POSTGRES)).await
    }
}

/// One row: the night, counted in days since 1970, and the batch that was recounted last.
const RECOUNT_ON_SQLITE: &str = "
CREATE TABLE report_recount (
    night INTEGER NOT NULL,
    run INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    done INTEGER NOT NULL
);
INSERT INTO report_recount (night, run, batch, done) VALUES (0, 0, 0, TRUE);
CREATE TABLE report_disagreements (
    batch INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    found_at INTEGER NOT NULL
);
CREATE INDEX report_disagreements_by_run ON report_disagreements (run);
";

const RECOUNT_ON_POSTGRES: &str = "
CREATE TABLE report_recount (
    night BIGINT NOT NULL,
    run BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    done BOOLEAN NOT NULL
);
INSERT INTO report_recount (night, run, batch, done) VALUES (0, 0, 0, TRUE);
CREATE TABLE report_disagreements (
    batch BIGINT PRIMARY KEY,
    run BIGINT NOT NULL,
    found_at BIGINT NOT NULL
);
CREATE INDEX report_disagreements_by_run ON report_disagreements (run);
";

/// Parts apart from units, which are credits. Absent where a part cost one.
pub(crate) struct AddCredits;

impl MigrationName for AddCredits {
    fn name(&self) -> &str {
        "m0105_add_credits"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddCredits {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let parts = differs(
            "ALTER TABLE report_batches ADD COLUMN parts INTEGER;
             ALTER TABLE report_messages ADD COLUMN parts INTEGER",
            "ALTER TABLE report_batches ADD COLUMN parts BIGINT;
             ALTER TABLE report_messages ADD COLUMN parts BIGINT",
        );
        run_migration(manager, parts).await
    }
}

/// Runs and batches have numbers of their own: the largest table's key is small, and a list that
/// is being paged through grows only at its end. `settled` and `waiting` are JSON objects of
/// counts by word; `open` is everything of a batch that is not settled. Packed ids stand apart,
/// where sums do not read over them.
const SQLITE: &str = "
CREATE TABLE report_runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id BLOB NOT NULL UNIQUE,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    nominal_at INTEGER,
    deadline_at INTEGER,
    plan_matched INTEGER,
    plan_planned INTEGER,
    plan_skipped TEXT,
    updated_at INTEGER NOT NULL
);
CREATE INDEX report_runs_by_campaign ON report_runs (organisation_id, campaign_id, number);
CREATE TABLE report_batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id BLOB NOT NULL UNIQUE,
    run INTEGER NOT NULL,
    channel TEXT NOT NULL,
    count INTEGER NOT NULL,
    version INTEGER NOT NULL,
    open INTEGER NOT NULL,
    settled TEXT NOT NULL,
    waiting TEXT NOT NULL,
    units INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX report_batches_by_run ON report_batches (run, channel, number);
CREATE INDEX report_batches_open ON report_batches (run) WHERE open > 0;
CREATE TABLE report_recipients (
    batch INTEGER PRIMARY KEY,
    customer_ids BLOB NOT NULL
);
CREATE TABLE report_skips (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    channel TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    customer_ids BLOB NOT NULL,
    PRIMARY KEY (run, step, channel, reason)
);
CREATE INDEX report_skips_sums ON report_skips (run, channel, reason, count);
CREATE TABLE report_messages (
    batch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    units INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    provider_code TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (batch, position)
) WITHOUT ROWID;
";

const POSTGRES: &str = "
CREATE TABLE report_runs (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id UUID NOT NULL UNIQUE,
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    nominal_at BIGINT,
    deadline_at BIGINT,
    plan_matched BIGINT,
    plan_planned BIGINT,
    plan_skipped TEXT COLLATE \"C\",
    updated_at BIGINT NOT NULL
);
CREATE INDEX report_runs_by_campaign ON report_runs (organisation_id, campaign_id, number);
CREATE TABLE report_batches (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id UUID NOT NULL UNIQUE,
    run BIGINT NOT NULL,
    channel TEXT COLLATE \"C\" NOT NULL,
    count BIGINT NOT NULL,
    version BIGINT NOT NULL,
    open BIGINT NOT NULL,
    settled TEXT COLLATE \"C\" NOT NULL,
    waiting TEXT COLLATE \"C\" NOT NULL,
    units BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX report_batches_by_run ON report_batches (run, channel, number);
CREATE INDEX report_batches_open ON report_batches (run) WHERE open > 0;
CREATE TABLE report_recipients (
    batch BIGINT PRIMARY KEY,
    customer_ids BYTEA NOT NULL
);
CREATE TABLE report_skips (
    run BIGINT NOT NULL,
    step BIGINT NOT NULL,
    channel TEXT COLLATE \"C\" NOT NULL,
    reason TEXT COLLATE \"C\" NOT NULL,
    count BIGINT NOT NULL,
    customer_ids BYTEA NOT NULL,
    PRIMARY KEY (run, step, channel, reason)
);
CREATE INDEX report_skips_sums ON report_skips (run, channel, reason, count);
CREATE TABLE report_messages (
    batch BIGINT NOT NULL,
    position BIGINT NOT NULL,
    state TEXT COLLATE \"C\" NOT NULL,
    reason TEXT COLLATE \"C\" NOT NULL,
    units BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    provider_code TEXT COLLATE \"C\" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (batch, position)
) WITH (fillfactor = 80);
";
