//! The tables that say what may not be sent, how fast, and what providers told afterwards.

use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

pub(super) struct CreateControls;

impl MigrationName for CreateControls {
    fn name(&self) -> &str {
        "m0101_create_controls"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateControls {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

pub(super) struct AddConsent;

impl MigrationName for AddConsent {
    fn name(&self) -> &str {
        "m0102_add_consent"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddConsent {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let consent = differs(
            "ALTER TABLE suppressions ADD COLUMN without_consent INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE suppressions ADD COLUMN without_consent BOOLEAN NOT NULL DEFAULT FALSE",
        );
        run_migration(manager, consent).await
    }
}

const SQLITE: &str = "
CREATE TABLE halts (
    campaign_id BLOB PRIMARY KEY,
    halt TEXT NOT NULL,
    version INTEGER NOT NULL,
    pending INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX batches_by_campaign ON batches (campaign_id) WHERE NOT closed;
CREATE TABLE suppressions (
    organisation_id BLOB NOT NULL,
    customer_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, customer_id)
) WITHOUT ROWID;
CREATE TABLE throttles (
    organisation_id BLOB NOT NULL,
    account TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    series INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, account)
) WITHOUT ROWID;
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation_id BLOB NOT NULL,
    run_day INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    says TEXT NOT NULL,
    provider_code TEXT NOT NULL,
    kept_at INTEGER NOT NULL
);
";

const POSTGRES: &str = r#"
CREATE TABLE halts (
    campaign_id UUID PRIMARY KEY,
    halt TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    pending BOOLEAN NOT NULL
);
CREATE INDEX batches_by_campaign ON batches (campaign_id) WHERE NOT closed;
CREATE TABLE suppressions (
    organisation_id UUID NOT NULL,
    customer_id UUID NOT NULL,
    version BIGINT NOT NULL,
    suppressed BOOLEAN NOT NULL,
    PRIMARY KEY (organisation_id, customer_id)
);
CREATE TABLE throttles (
    organisation_id UUID NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    next_at BIGINT NOT NULL,
    series BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, account)
);
CREATE TABLE evidence (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id UUID NOT NULL,
    run_day BIGINT NOT NULL,
    message_id UUID NOT NULL,
    says TEXT COLLATE "C" NOT NULL,
    provider_code TEXT COLLATE "C" NOT NULL,
    kept_at BIGINT NOT NULL
);
"#;
