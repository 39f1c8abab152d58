//! On PostgreSQL messages and batches are partitioned by the day of their run. A day's partitions
//! are made when its first batch comes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use carillon_service_kit::{Database, database::Sql as _};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr};

const PARTITIONED: [&str; 2] = ["messages", "batches"];
/// Replicas that meet the day's first batch at once take turns.
const LOCK: i64 = 7071;

/// Days known to have their partitions.
#[derive(Clone, Default)]
pub(crate) struct Partitions(Arc<Mutex<BTreeSet<i32>>>);

impl Partitions {
    pub(crate) async fn ensure(&self, database: &Database, run_day: i32) -> Result<(), DbErr> {
        if !database.is_shared() || self.known().contains(&run_day) {
            return Ok(());
        }
        let tx = database.begin().await?;
        tx.run("SELECT pg_advisory_xact_lock($1)", [LOCK.into()]).await?;
        for table in PARTITIONED {
            attach(&tx, table, run_day).await?;
        }
        tx.commit().await?;
        self.known().insert(run_day);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Made beside the table and attached: to create it as a partition would wait for every reader of
/// the table, and make all others wait behind it.
async fn attach(tx: &DatabaseTransaction, table: &str, run_day: i32) -> Result<(), DbErr> {
    let partition = format!("\"{table}_{run_day}\"");
    let known = "SELECT 1 WHERE to_regclass($1::text) IS NOT NULL";
    if tx.row(known, [partition.clone().into()]).await?.is_some() {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);
         ALTER TABLE {partition} ADD CONSTRAINT of_its_day CHECK (run_day = {run_day});
         ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN ({run_day});
         ALTER TABLE {partition} DROP CONSTRAINT of_its_day"
    );
    tx.execute_unprepared(&sql).await.map(|_| ())
}
