//! What tests need: a database and a broker of their own, and waiting for something to become
//! true.
//!
//! The same suites run on embedded parts and, where `CARILLON_TEST_ON` is `distributed`, on
//! PostgreSQL and RabbitMQ. What is needed and not there fails; nothing is skipped.

mod broker;

use std::{future::Future, time::Duration};

use carillon_service_kit::{
    Database,
    database::{Postgres, Sql as _},
};
use sea_orm_migration::MigratorTrait;
use tempfile::TempDir;
use uuid::Uuid;

pub use broker::{Rabbit, TestBroker, broker};

/// Connections of one test to its PostgreSQL database.
const CONNECTIONS: u32 = 8;

/// A fresh database that goes with the test.
pub struct TestDatabase {
    pub database: Database,
    pub directory: TempDir,
    place: Place,
}

enum Place {
    File(std::path::PathBuf),
    Server(Postgres),
}

impl TestDatabase {
    /// The same database through connections of their own, as another process or the next start
    /// would have it.
    pub async fn again<M: MigratorTrait>(&self) -> Database {
        match &self.place {
            Place::File(path) => Database::open_sqlite::<M>(path).await,
            Place::Server(at) => Database::connect_postgres(at).await,
        }
        .expect("it opens again")
    }
}

/// Whether the suite runs on PostgreSQL and RabbitMQ.
///
/// # Panics
/// Where `CARILLON_TEST_ON` is neither `embedded` nor `distributed`.
pub fn is_distributed() -> bool {
    match std::env::var("CARILLON_TEST_ON").as_deref() {
        Ok("distributed") => true,
        Ok("embedded") | Err(_) => false,
        Ok(other) => panic!("CARILLON_TEST_ON: '{other}' is neither embedded nor distributed"),
    }
}

/// A database of the test's own, with the service's tables.
pub async fn database<M: MigratorTrait>() -> TestDatabase {
    let directory = tempfile::tempdir().expect("a temporary folder");
    if is_distributed() {
        let at = Postgres { url: create_postgres().await, connections: CONNECTIONS };
        Database::migrate_postgres::<M>(&at).await.expect("the migrations run");
        let database = Database::connect_postgres(&at).await.expect("it connects");
        return TestDatabase { database, directory, place: Place::Server(at) };
    }
    let path = directory.path().join("test.db");
    let database = Database::open_sqlite::<M>(&path).await.expect("the migrations run");
    TestDatabase { database, directory, place: Place::File(path) }
}

/// The URL of a new, empty database on the server of `DATABASE_URL`. The server is the tests' own
/// and goes with them, databases and all.
///
/// # Panics
/// Where there is no server.
pub async fn create_postgres() -> String {
    create_postgres_named(&format!("test_{}", Uuid::new_v4().simple())).await
}

/// The same, under a name of the test's choice.
///
/// # Panics
/// Where there is no server.
pub async fn create_postgres_named(name: &str) -> String {
    let server = std::env::var("DATABASE_URL").expect(
        "DATABASE_URL: not set; `make test` starts a PostgreSQL and names it, such as \
         postgres://postgres@127.0.0.1:5432/postgres",
    );
    let at = Postgres { url: server.clone(), connections: 1 };
    let admin = Database::connect_postgres(&at).await.expect("DATABASE_URL: a server answers");
    let create = format!("CREATE DATABASE {name}");
    admin.reader().run(&create, []).await.expect("a database is created");
    admin.close().await.expect("closed");
    let base = server.rsplit_once('/').map_or(server.as_str(), |(base, _)| base);
    format!("{base}/{name}")
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
