//! What tests need: a database of their own, and waiting for something to become true.

use std::{future::Future, time::Duration};

use carillon_service_kit::Database;
use sea_orm_migration::MigratorTrait;
use tempfile::TempDir;

/// A fresh database that goes with the test.
pub struct TestDatabase {
    pub database: Database,
    pub directory: TempDir,
}

/// An SQLite file in a temporary folder, with the service's tables.
pub async fn database<M: MigratorTrait>() -> TestDatabase {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open_sqlite::<M>(&directory.path().join("test.db"))
        .await
        .expect("the migrations run");
    TestDatabase { database, directory }
}

/// Asks again until the answer is yes, for two minutes at most.
///
/// # Panics
/// With `what` where it never became true.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    for _ in 0..12_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never became true: {what}");
}
