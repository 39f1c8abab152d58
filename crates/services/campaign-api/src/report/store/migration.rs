use carillon_service_kit::database::run_migration;
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
        run_migration(manager, SQLITE).await
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
