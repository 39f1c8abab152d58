//! SQLite: a file, written through one connection and read through others.

use std::{path::Path, time::Duration};

use sea_orm::{
    DatabaseConnection, DbErr, SqlxSqliteConnector,
    sqlx::{
        self, Connection as _, SqliteConnection,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};
use sea_orm_migration::MigratorTrait;

use super::Database;

const READERS: u32 = 4;

impl Database {
    /// Opens (or creates) an SQLite file and brings its tables up to date.
    pub async fn open_sqlite<M: MigratorTrait>(path: &Path) -> Result<Self, DbErr> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true)
            .statement_cache_capacity(256)
            .pragma("cache_size", "-16000")
            .pragma("temp_store", "MEMORY");
        let writer = pool(1, options.clone()).await?;
        M::up(&writer, None).await?;
        let reader = pool(READERS, options.read_only(true)).await?;
        Ok(Self { writer, reader })
    }
}

async fn pool(size: u32, options: SqliteConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let pool = SqlitePoolOptions::new()
        .max_connections(size)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_clean(connection)))
        .acquire_timeout(Duration::from_secs(60))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|error| DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Where SQLite ends a transaction by itself (a full disk, say), the driver goes on counting it as
/// open. Its next ones are then savepoints, and what they commit may never be written. Such a
/// connection is given up; another takes its place.
async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if !connection.is_in_transaction() {
        return Ok(true);
    }
    // A rollback may still be on its way to the connection's thread, ahead of this.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Sql as _;

    struct NoTables;

    #[async_trait::async_trait]
    impl MigratorTrait for NoTables {
        fn migrations() -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
            Vec::new()
        }
    }

    async fn numbers(database: &Database) -> i64 {
        let row = database.reader().row("SELECT COUNT(*) FROM t", []).await.expect("read");
        row.expect("a row").try_get_by_index(0).expect("a number")
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_itself_does_not_swallow_the_next_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.db");
        let database = Database::open_sqlite::<NoTables>(&path).await.expect("opened");
        let tx = database.begin().await.expect("begun");
        tx.run("CREATE TABLE t (n INTEGER PRIMARY KEY)", []).await.expect("created");
        tx.commit().await.expect("committed");
        let tx = database.begin().await.expect("begun");
        tx.run("INSERT INTO t VALUES (0)", []).await.expect("inserted");
        let ended = tx.run("INSERT OR ROLLBACK INTO t VALUES (0)", []).await;
        assert!(ended.is_err(), "SQLite ends the transaction by itself, as on a full disk");
        drop(tx);
        let tx = database.begin().await.expect("begun");
        assert!(tx.run("INSERT INTO nowhere VALUES (1)", []).await.is_err());
        drop(tx);
        for n in 1..4_i64 {
            let tx = database.begin().await.expect("begun");
            tx.run("INSERT INTO t VALUES ($1)", [n.into()]).await.expect("inserted");
            tx.commit().await.expect("committed");
            assert_eq!(numbers(&database).await, n, "what was committed is there");
        }
    }
}
