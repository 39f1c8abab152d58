use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The tables of both sides: outbox, streams, subscribers and heard of a producer; inbox, marks and
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
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// How far a subscriber without a mark was given the current documents of a projection, and how many
/// events a consumer never had. Every service's migrator has it.
pub struct AddDocuments;

impl MigrationName for AddDocuments {
    fn name(&self) -> &str {
        "m0002_add_documents"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddDocuments {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sqlite = "ALTER TABLE subscribers ADD COLUMN documents_after TEXT;
            ALTER TABLE marks ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;";
        let postgres = "ALTER TABLE subscribers ADD COLUMN documents_after TEXT COLLATE \"C\";
            ALTER TABLE marks ADD COLUMN missed BIGINT NOT NULL DEFAULT 0;";
        run_migration(manager, differs(sqlite, postgres)).await
    }
}

const SQLITE: &str = "
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    seq INTEGER,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    sent_at INTEGER
);
CREATE UNIQUE INDEX outbox_seq ON outbox (stream, seq);
CREATE INDEX outbox_new ON outbox (stream, id) WHERE seq IS NULL;
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
    heard_at INTEGER NOT NULL,
    looked_at INTEGER,
    idle_since INTEGER,
    overtaken INTEGER NOT NULL DEFAULT 0,
    again_seq INTEGER NOT NULL DEFAULT 0,
    again_at INTEGER,
    PRIMARY KEY (stream, subscriber)
) WITHOUT ROWID;
CREATE TABLE heard (
    stream TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    heard_at INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    PRIMARY KEY (stream, subscriber, heard_at)
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
    source TEXT NOT NULL,
    seq INTEGER,
    body BLOB NOT NULL,
    error TEXT NOT NULL,
    parked_at INTEGER NOT NULL
);
";

const POSTGRES: &str = r#"
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream TEXT COLLATE "C" NOT NULL,
    seq BIGINT,
    body BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    sent_at BIGINT
);
CREATE UNIQUE INDEX outbox_seq ON outbox (stream, seq);
CREATE INDEX outbox_new ON outbox (stream, id) WHERE seq IS NULL;
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE TABLE streams (
    stream TEXT COLLATE "C" PRIMARY KEY,
    last_seq BIGINT NOT NULL
);
CREATE TABLE subscribers (
    stream TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    mark BIGINT NOT NULL,
    highest BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    looked_at BIGINT,
    idle_since BIGINT,
    overtaken BIGINT NOT NULL DEFAULT 0,
    again_seq BIGINT NOT NULL DEFAULT 0,
    again_at BIGINT,
    PRIMARY KEY (stream, subscriber)
);
CREATE TABLE heard (
    stream TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    heard_at BIGINT NOT NULL,
    highest BIGINT NOT NULL,
    PRIMARY KEY (stream, subscriber, heard_at)
);
CREATE TABLE inbox (
    stream TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    handled_at BIGINT NOT NULL,
    PRIMARY KEY (stream, seq)
);
CREATE TABLE marks (
    stream TEXT COLLATE "C" PRIMARY KEY,
    mark BIGINT NOT NULL,
    highest BIGINT NOT NULL
);
CREATE TABLE parked (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source TEXT COLLATE "C" NOT NULL,
    seq BIGINT,
    body BYTEA NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    parked_at BIGINT NOT NULL
);
"#;
