//! PostgreSQL: a pool of connections; replicas of a service share the database.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector,
    sqlx::{
        self, Connection as _,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};
use sea_orm_migration::MigratorTrait;

use super::Database;

/// A process that stands still in the midst of a transaction would keep its locks for ever, and those
/// who take over what it had in hand need them.
const IDLE_IN_TRANSACTION: &str = "15s";
/// A connection that was not used for so long may be one of a server that was there before.
const UNUSED: Duration = Duration::from_secs(1);

/// For a connection, at the start and later.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where the database is and how many connections a process opens to it.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`, with libpq's parameters.
    pub url: String,
    pub connections: u32,
}

impl Database {
    /// Connects, and leaves the tables as they are. The first connection is made at once, so that
    /// a wrong address is told at the start.
    pub async fn connect_postgres(at: &Postgres) -> Result<Self, DbErr> {
        let connection = pool(at).await?;
        Ok(Self { writer: connection.clone(), reader: connection })
    }

    /// Brings the tables up to date. Processes that do so at once take turns.
    pub async fn migrate_postgres<M: MigratorTrait>(at: &Postgres) -> Result<(), DbErr> {
        let one = pool(&Postgres { connections: 1, ..at.clone() }).await?;
        let two = pool(&Postgres { connections: 1, ..at.clone() }).await?;
        one.execute_unprepared("SELECT pg_advisory_lock(7070)").await?;
        let migrated = M::up(&two, None).await;
        one.close().await?;
        two.close().await?;
        migrated
    }

    /// Migrations that are still to be carried out, by name.
    pub async fn pending<M: MigratorTrait>(&self) -> Result<Vec<String>, DbErr> {
        let pending = M::get_pending_migrations(&self.writer).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }
}

async fn pool(at: &Postgres) -> Result<DatabaseConnection, DbErr> {
    let failed = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let options: PgConnectOptions = at.url.parse().map_err(failed)?;
    let options = options
        .statement_cache_capacity(256)
        .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)]);
    let pool = PgPoolOptions::new()
        .max_connections(at.connections)
        .test_before_acquire(false)
        .acquire_timeout(PATIENCE)
        .idle_timeout(Duration::from_secs(10 * 60))
        .max_lifetime(None)
        .before_acquire(|connection, pooled| {
            Box::pin(async move { Ok(pooled.idle_for < UNUSED || connection.ping().await.is_ok()) })
        })
        .connect_with(options)
        .await
        .map_err(failed)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}
