use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The tables of a dispatcher, and those that SMS alone need.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = carillon_dispatch::Migrator::migrations();
        migrations.push(Box::new(CreateSms));
        migrations.push(Box::new(CreateGateways));
        migrations
    }
}

struct CreateSms;

impl MigrationName for CreateSms {
    fn name(&self) -> &str {
        "m0200_create_sms"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSms {
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
CREATE TABLE smsc_parts (
    organisation_id BLOB NOT NULL,
    account TEXT NOT NULL,
    smsc_id TEXT NOT NULL,
    run_day INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    said TEXT NOT NULL DEFAULT '',
    kept_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, account, smsc_id)
) WITHOUT ROWID;
CREATE INDEX smsc_parts_by_message ON smsc_parts (message_id);
CREATE INDEX smsc_parts_by_age ON smsc_parts (kept_at);
CREATE TABLE smsc_receipts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation_id BLOB NOT NULL,
    account TEXT NOT NULL,
    smsc_id TEXT NOT NULL,
    as_hex TEXT NOT NULL,
    as_decimal TEXT NOT NULL,
    says TEXT NOT NULL,
    provider_code TEXT NOT NULL,
    kept_at INTEGER NOT NULL
);
CREATE INDEX smsc_receipts_by_id ON smsc_receipts (organisation_id, account, smsc_id);
CREATE INDEX smsc_receipts_by_age ON smsc_receipts (kept_at);
CREATE TABLE smsc_accounts (
    organisation_id BLOB PRIMARY KEY,
    accepted_at INTEGER NOT NULL
) WITHOUT ROWID;
";

const POSTGRES: &str = r#"
CREATE TABLE replies (
    organisation_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    heard_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, fingerprint)
);
CREATE INDEX replies_by_age ON replies (heard_at);
CREATE TABLE smsc_parts (
    organisation_id UUID NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    smsc_id TEXT COLLATE "C" NOT NULL,
    run_day BIGINT NOT NULL,
    message_id UUID NOT NULL,
    part BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    said TEXT COLLATE "C" NOT NULL DEFAULT '',
    kept_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, account, smsc_id)
);
CREATE INDEX smsc_parts_by_message ON smsc_parts (message_id);
CREATE INDEX smsc_parts_by_age ON smsc_parts (kept_at);
CREATE TABLE smsc_receipts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id UUID NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    smsc_id TEXT COLLATE "C" NOT NULL,
    as_hex TEXT COLLATE "C" NOT NULL,
    as_decimal TEXT COLLATE "C" NOT NULL,
    says TEXT COLLATE "C" NOT NULL,
    provider_code TEXT COLLATE "C" NOT NULL,
    kept_at BIGINT NOT NULL
);
CREATE INDEX smsc_receipts_by_id ON smsc_receipts (organisation_id, account, smsc_id);
CREATE INDEX smsc_receipts_by_age ON smsc_receipts (kept_at);
CREATE TABLE smsc_accounts (
    organisation_id UUID PRIMARY KEY,
    accepted_at BIGINT NOT NULL
);
"#;

struct CreateGateways;

impl MigrationName for CreateGateways {
    fn name(&self) -> &str {
        "m0201_create_gateways"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateGateways {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(GATEWAYS_ON_SQLITE, GATEWAYS_ON_POSTGRES)).await
    }
}

/// `settings` and `token` are messages of the contracts.
const GATEWAYS_ON_SQLITE: &str = "
CREATE TABLE gateways_down (
    organisation_id BLOB NOT NULL,
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    probe_at INTEGER NOT NULL,
    probes INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, account)
) WITHOUT ROWID;
CREATE TABLE gateways_used (
    organisation_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    settings BLOB NOT NULL,
    token BLOB NOT NULL,
    secret TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, digest)
) WITHOUT ROWID;
CREATE INDEX gateways_used_by_age ON gateways_used (used_at);
";

const GATEWAYS_ON_POSTGRES: &str = r#"
CREATE TABLE gateways_down (
    organisation_id UUID NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    since_at BIGINT NOT NULL,
    probe_at BIGINT NOT NULL,
    probes BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, account)
);
CREATE TABLE gateways_used (
    organisation_id UUID NOT NULL,
    digest BYTEA NOT NULL,
    settings BYTEA NOT NULL,
    token BYTEA NOT NULL,
    secret TEXT COLLATE "C" NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, digest)
);
CREATE INDEX gateways_used_by_age ON gateways_used (used_at);
"#;
