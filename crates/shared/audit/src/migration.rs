use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

/// The log's tables, for the service that keeps it.
pub struct CreateAudit;

impl MigrationName for CreateAudit {
    fn name(&self) -> &str {
        "m0003_create_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAudit {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

/// `audit_heads` has each organisation's last number and hash: its row is what writers lock, and what
/// shows that entries were cut off the end. The platform's entries stand under the nil id.
const SQLITE: &str = "
CREATE TABLE audit_entries (
    organisation_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    key_id BLOB,
    key_prefix TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (organisation_id, number)
) WITHOUT ROWID;
CREATE TABLE audit_heads (
    organisation_id BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER audit_entries_kept BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_entries_whole BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";

const POSTGRES: &str = r#"
CREATE TABLE audit_entries (
    organisation_id UUID NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    key_id UUID,
    key_prefix TEXT COLLATE "C" NOT NULL,
    act TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    before TEXT COLLATE "C" NOT NULL,
    after TEXT COLLATE "C" NOT NULL,
    previous_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (organisation_id, number)
);
CREATE TABLE audit_heads (
    organisation_id UUID PRIMARY KEY,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL
);
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$;
CREATE TRIGGER audit_entries_kept BEFORE UPDATE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_entries_whole BEFORE DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_entries_there BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
"#;
