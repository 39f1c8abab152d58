//! A service's own database: an SQLite file or a PostgreSQL database. Statements are written by
//! hand, side by side where the two differ.

pub mod list;
mod postgres;
mod reach;
mod sqlite;
mod text;

use std::pin::Pin;

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, IsolationLevel, QueryResult, RuntimeErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait, Value, sqlx,
};

pub use postgres::Postgres;
pub use reach::{Unreachable, in_words};
pub use text::{Text, differs, same};

#[derive(Clone)]
pub struct Database {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

impl Database {
    /// A transaction that may write. On SQLite nobody else writes while it is open; on PostgreSQL
    /// others do, so what it relies on must be locked (READ COMMITTED).
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        self.writer
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            })
            .await
    }

    /// A transaction that reads one state of the whole database.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        match self.backend() {
            DbBackend::Postgres => {
                let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
                self.reader.begin_with_config(Some(isolation), Some(access)).await
            }
            _ => self.reader.begin().await,
        }
    }

    /// For single statements that write: each is a transaction of its own.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// For single reads.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// Whether other processes may work on the same database.
    pub fn is_shared(&self) -> bool {
        self.backend() == DbBackend::Postgres
    }

    pub async fn close(self) -> Result<(), DbErr> {
        self.reader.close().await?;
        self.writer.close().await
    }
}

/// The answer to a statement. Boxed by the driver already; naming the box keeps the callers'
/// futures simple enough for the compiler to see that they are `Send`.
type Answer<'c, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'c>>;

/// Statements by hand, with `$1`-style parameters that both databases read.
pub trait Sql {
    fn run<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, ExecResult>;

    fn rows<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, Vec<QueryResult>>;

    fn row<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, Option<QueryResult>>;
}

impl<C: ConnectionTrait> Sql for C {
    fn run<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, ExecResult> {
        self.execute_raw(statement(self.get_database_backend(), sql.into(), values))
    }

    fn rows<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, Vec<QueryResult>> {
        self.query_all_raw(statement(self.get_database_backend(), sql.into(), values))
    }

    fn row<'a>(
        &self,
        sql: impl Into<Text<'a>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Answer<'_, Option<QueryResult>> {
        self.query_one_raw(statement(self.get_database_backend(), sql.into(), values))
    }
}

fn statement(
    backend: DbBackend,
    sql: Text<'_>,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(backend, sql.of(backend), values)
}

/// Whether the same statements may succeed later: the database was busy, full or out of reach.
/// What a constraint or a row's own content refused will be refused again.
pub fn is_transient(error: &DbErr) -> bool {
    let sqlx = match error {
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => return true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error
        }
        _ => return false,
    };
    match &**sqlx {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // PostgreSQL: a connection, a conflict with another transaction, resources, a stop.
            Some(state) if state.len() == 5 => ["08", "25", "40", "53", "55", "57", "58"]
                .iter()
                .any(|class| state.starts_with(class)),
            _ => !error.message().contains("constraint"),
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::RowNotFound => false,
        _ => true,
    }
}

/// Whether nothing was stored because the disk has no room.
pub fn is_full(error: &DbErr) -> bool {
    let told = error.to_string();
    ["database or disk is full", "No space left on device"].iter().any(|full| told.contains(full))
}

/// A migration written as SQL, a text for each kind of database. It must say `use_transaction`,
/// or SQLite would keep a part of it when the process is killed.
pub async fn run_migration<'a>(
    manager: &sea_orm_migration::SchemaManager<'_>,
    sql: impl Into<Text<'a>>,
) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let sql = sql.into().of(connection.get_database_backend());
    connection.execute_unprepared(sql).await.map(|_| ())
}
