use carillon_service_kit::database::run_migration;
use sea_orm_migration::prelude::*;

/// The tables of both sides: outbox, streams and subscribers of a producer; inbox, marks and
/// parked of a consumer. Every service's migrator begins with it.
pub struct CreateOutbox;

impl MigrationName for CreateOutbox {
    fn name(&self) -> &str {
        "m0000_create_outbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateOutbox {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, SQLITE).await
    }
}

const SQLITE: &str = "
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    seq INTEGER,
    body BLOB NOT NULL,
    sent_at INTEGER
);
CREATE UNIQUE INDEX outbox_seq ON outbox (stream, seq);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE TABLE streams (
    stream TEXT PRIMARY KEY,
    last_seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE subscribers (
    stream TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    mark INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    PRIMARY KEY (stream, subscriber)
) WITHOUT ROWID;
CREATE TABLE inbox (
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
CREATE TABLE marks (
    stream TEXT PRIMARY KEY,
    mark INTEGER NOT NULL,
    highest INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE parked (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    error TEXT NOT NULL,
    parked_at INTEGER NOT NULL
);
";
