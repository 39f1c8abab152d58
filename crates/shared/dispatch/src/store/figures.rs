//! What waits here, for operators.

use carillon_service_kit::{Database, database::Sql as _};
use sea_orm::DbErr;

/// Open messages that wait for the same thing.
pub(crate) struct Waiting {
    pub state: String,
    pub reason: String,
    pub count: i64,
    /// When the one that has waited longest last changed.
    pub oldest_ms: Option<i64>,
}

pub(crate) async fn waiting(database: &Database) -> Result<Vec<Waiting>, DbErr> {
    let sql = "SELECT m.state, m.reason, COUNT(*) AS n, MIN(m.changed_at) AS oldest
               FROM batches b JOIN messages m ON m.run_day = b.run_day AND m.batch_id = b.id
               WHERE NOT b.closed AND m.state IN ('queued', 'sending')
               GROUP BY m.state, m.reason ORDER BY m.state, m.reason";
    let rows = database.reader().rows(sql, []).await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                state: row.try_get("", "state")?,
                reason: row.try_get("", "reason")?,
                count: row.try_get("", "n")?,
                oldest_ms: row.try_get("", "oldest")?,
            })
        })
        .collect()
}

pub(crate) async fn has_evidence(database: &Database) -> Result<bool, DbErr> {
    Ok(database.reader().row("SELECT 1 FROM evidence LIMIT 1", []).await?.is_some())
}

/// Callbacks that are not applied yet, and when the oldest came.
pub(crate) async fn evidence(database: &Database) -> Result<(i64, Option<i64>), DbErr> {
    let row = database.reader().row("SELECT COUNT(*), MIN(kept_at) FROM evidence", []).await?;
    let row = row.ok_or(DbErr::RecordNotFound("a count".into()))?;
    Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
}
