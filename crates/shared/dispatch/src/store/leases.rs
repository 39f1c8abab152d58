//! What a row says of the lease it gave last, and the trace that a batch belongs to.

use carillon_service_kit::database::{differs, run_migration};
use sea_orm_migration::prelude::*;

pub(super) struct AddLeases;

impl MigrationName for AddLeases {
    fn name(&self) -> &str {
        "m0102_add_leases_and_traces"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddLeases {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, differs(SQLITE, POSTGRES)).await
    }
}

const SQLITE: &str = "
ALTER TABLE throttles ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE throttles ADD COLUMN leased_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE throttles ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
";

const POSTGRES: &str = r#"
ALTER TABLE throttles ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE throttles ADD COLUMN leased_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE throttles ADD COLUMN leased BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN traceparent TEXT COLLATE "C" NOT NULL DEFAULT '';
"#;
