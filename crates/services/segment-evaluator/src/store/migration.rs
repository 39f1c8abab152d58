//! The tables.

use carillon_outbox::CreateOutbox;
use carillon_service_kit::database::run_migration;
use carillon_tenancy::CreateTenancy;
use sea_orm_migration::prelude::*;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(CreateCustomers),
            Box::new(CreatePlans),
        ]
    }
}

struct CreateCustomers;

impl MigrationName for CreateCustomers {
    fn name(&self) -> &str {
        "m0100_create_customers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCustomers {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, CUSTOMERS).await
    }
}

struct CreatePlans;

impl MigrationName for CreatePlans {
    fn name(&self) -> &str {
        "m0101_create_plans"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreatePlans {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, PLANS).await
    }
}

/// Customers lie in the order of their external ids, in which they are planned and listed.
const CUSTOMERS: &str = "
CREATE TABLE data_keys (
    organisation_id BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE customers (
    organisation_id BLOB NOT NULL,
    external_id TEXT NOT NULL,
    id BLOB NOT NULL,
    profile BLOB NOT NULL,
    phone_hash BLOB,
    email_hash BLOB,
    name_hash BLOB,
    display_name_hash BLOB,
    birth_mmdd INTEGER,
    language TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    categories TEXT NOT NULL,
    points INTEGER NOT NULL,
    favourite INTEGER NOT NULL,
    consent INTEGER NOT NULL,
    subscribe_sms INTEGER NOT NULL,
    subscribe_email INTEGER NOT NULL,
    blacklisted INTEGER NOT NULL,
    joined_on TEXT NOT NULL,
    programmes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, external_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX customers_by_id ON customers (id);
CREATE INDEX customers_by_phone ON customers (organisation_id, phone_hash)
    WHERE phone_hash IS NOT NULL;
CREATE INDEX customers_by_email ON customers (organisation_id, email_hash)
    WHERE email_hash IS NOT NULL;
CREATE INDEX customers_by_name ON customers (organisation_id, name_hash)
    WHERE name_hash IS NOT NULL;
CREATE INDEX customers_by_display_name ON customers (organisation_id, display_name_hash)
    WHERE display_name_hash IS NOT NULL;
CREATE TABLE customer_categories (
    organisation_id BLOB NOT NULL,
    category TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (organisation_id, category, external_id)
) WITHOUT ROWID;
CREATE INDEX customer_categories_by_customer
    ON customer_categories (organisation_id, external_id);
CREATE TABLE cards (
    organisation_id BLOB NOT NULL,
    hash BLOB NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (organisation_id, hash)
) WITHOUT ROWID;
CREATE INDEX cards_by_customer ON cards (organisation_id, external_id);
CREATE TABLE address_uses (
    organisation_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    hash BLOB NOT NULL,
    customers INTEGER NOT NULL CHECK (customers >= 0),
    PRIMARY KEY (organisation_id, channel, hash)
) WITHOUT ROWID;
CREATE TABLE activities (
    organisation_id BLOB NOT NULL,
    event_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    amount INTEGER,
    rating TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, event_id)
) WITHOUT ROWID;
CREATE INDEX activities_by_customer ON activities (organisation_id, external_id, kind, at);
CREATE TABLE consent_log (
    organisation_id BLOB NOT NULL,
    n INTEGER NOT NULL,
    customer_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    from_consent TEXT NOT NULL,
    to_consent TEXT NOT NULL,
    prev_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (organisation_id, n)
) WITHOUT ROWID;
CREATE TRIGGER consent_log_kept BEFORE UPDATE ON consent_log
BEGIN SELECT RAISE(ABORT, 'the consent log is append-only'); END;
CREATE TRIGGER consent_log_whole BEFORE DELETE ON consent_log
BEGIN SELECT RAISE(ABORT, 'the consent log is append-only'); END;
";

/// `late` counts how often customers came to share an address while the run was being planned.
/// Places are counted from their index alone.
const PLANS: &str = "
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id BLOB NOT NULL UNIQUE,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_day INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    audience BLOB NOT NULL,
    content BLOB NOT NULL,
    position TEXT NOT NULL,
    step INTEGER NOT NULL,
    sms_batches INTEGER NOT NULL,
    email_batches INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    planned INTEGER NOT NULL,
    skipped TEXT NOT NULL,
    closed INTEGER NOT NULL,
    late INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX runs_open ON runs (organisation_id, seq) WHERE closed = 0;
CREATE TABLE run_addresses (
    run_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run_id, channel, hash)
) WITHOUT ROWID;
CREATE TABLE lanes (
    organisation_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    class INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, channel, class)
) WITHOUT ROWID;
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id BLOB NOT NULL UNIQUE,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    run_day INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    class INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    customer_ids BLOB NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    block BLOB,
    released_at INTEGER,
    cause INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    unattempted INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0,
    given_up_at INTEGER
);
CREATE INDEX batches_waiting ON batches (organisation_id, channel, class, seq)
    WHERE released_at IS NULL;
CREATE INDEX batches_placed ON batches
    (organisation_id, channel, class, accepted, deadline, released_at, given_up_at)
    WHERE released_at IS NOT NULL AND given_up_at IS NULL;
CREATE INDEX batches_given_up ON batches (organisation_id, channel, class, given_up_at)
    WHERE given_up_at IS NOT NULL;
CREATE INDEX batches_unsent ON batches (seq) WHERE released_at IS NOT NULL AND sent = 0;
";
