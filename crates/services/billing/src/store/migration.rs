use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_service_kit::database::{differs, run_migration};
use carillon_tenancy::{CreateTenancy, NameKeys};
use sea_orm_migration::prelude::*;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(CreateBilling),
            Box::new(AddDocuments),
            Box::new(GiveBack),
        ]
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
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// What a batch gave back, because no message that waited fitted in it.
struct GiveBack;

impl MigrationName for GiveBack {
    fn name(&self) -> &str {
        "m0101_give_back"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for GiveBack {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = differs(
            "ALTER TABLE holds ADD COLUMN returned INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE holds ADD COLUMN returned BIGINT NOT NULL DEFAULT 0",
        );
        run_migration(manager, sql).await
    }
}

const SQLITE: &str = "
CREATE TABLE accounts (
    organisation_id BLOB PRIMARY KEY,
    available INTEGER NOT NULL CHECK (available >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    spent INTEGER NOT NULL CHECK (spent >= 0),
    credited INTEGER NOT NULL,
    low BOOLEAN NOT NULL,
    CHECK (available + held + spent = credited)
) WITHOUT ROWID;
CREATE TABLE credits (
    organisation_id BLOB NOT NULL,
    request_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, request_id)
) WITHOUT ROWID;
CREATE TABLE holds (
    organisation_id BLOB NOT NULL,
    batch_id BLOB NOT NULL,
    campaign_id BLOB,
    run_id BLOB,
    wanted INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    version INTEGER NOT NULL,
    needed INTEGER NOT NULL,
    posted INTEGER NOT NULL,
    closed BOOLEAN NOT NULL,
    PRIMARY KEY (organisation_id, batch_id)
) WITHOUT ROWID;
CREATE INDEX holds_short ON holds (organisation_id)
    WHERE NOT closed AND granted < wanted AND granted < needed;
CREATE INDEX holds_open ON holds (organisation_id, batch_id) WHERE NOT closed;
CREATE INDEX holds_by_campaign ON holds (organisation_id, campaign_id, batch_id);
CREATE TABLE entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    request_id TEXT,
    batch_id BLOB,
    available INTEGER NOT NULL,
    held INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX entries_by_organisation ON entries (organisation_id, number);
";

const POSTGRES: &str = r#"
CREATE TABLE accounts (
    organisation_id UUID PRIMARY KEY,
    available BIGINT NOT NULL CHECK (available >= 0),
    held BIGINT NOT NULL CHECK (held >= 0),
    spent BIGINT NOT NULL CHECK (spent >= 0),
    credited BIGINT NOT NULL,
    low BOOLEAN NOT NULL,
    CHECK (available + held + spent = credited)
);
CREATE TABLE credits (
    organisation_id UUID NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, request_id)
);
CREATE TABLE holds (
    organisation_id UUID NOT NULL,
    batch_id UUID NOT NULL,
    campaign_id UUID,
    run_id UUID,
    wanted BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    version BIGINT NOT NULL,
    needed BIGINT NOT NULL,
    posted BIGINT NOT NULL,
    closed BOOLEAN NOT NULL,
    PRIMARY KEY (organisation_id, batch_id)
);
CREATE INDEX holds_short ON holds (organisation_id)
    WHERE NOT closed AND granted < wanted AND granted < needed;
CREATE INDEX holds_open ON holds (organisation_id, batch_id) WHERE NOT closed;
CREATE INDEX holds_by_campaign ON holds (organisation_id, campaign_id, batch_id);
CREATE TABLE entries (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id UUID NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    request_id TEXT COLLATE "C",
    batch_id UUID,
    available BIGINT NOT NULL,
    held BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX entries_by_organisation ON entries (organisation_id, number);
"#;
