//! What a subscriber has handled: the rows of the inbox, and the mark that advances over them. The
//! marks row is locked first, so the replicas of a subscriber take turns within a stream.

use std::collections::HashSet;

use carillon_service_kit::{
    Database,
    database::{Sql, Text, differs, list},
};
use sea_orm::{DatabaseTransaction, DbErr};

const KEEP_MS: i64 = 10 * 60 * 1000;

/// The mark of a stream, locked until the transaction ends. One that is new begins just below
/// `floor`, the lowest seq that its producer keeps; one that is known and below that goes on from
/// there, for what it lacks is gone, and nothing later would leave the outbox otherwise.
pub(crate) async fn lock_mark(
    tx: &DatabaseTransaction,
    stream: &str,
    floor: i64,
) -> Result<i64, DbErr> {
    let sql = "SELECT mark FROM marks WHERE stream = $1 FOR UPDATE";
    if let Some(row) = tx.row(sql, [stream.into()]).await? {
        let mark: i64 = row.try_get_by_index(0)?;
        if mark + 1 >= floor {
            return Ok(mark);
        }
        tracing::error!(
            stream,
            mark,
            floor,
            "events are missing that the producer keeps no longer; was a database restored?"
        );
        tx.run(MISS, [stream.into(), (floor - 1).into()]).await?;
        return Ok(floor - 1);
    }
    let new = "INSERT INTO marks (stream, mark, highest) VALUES ($1, $2, $2)
               ON CONFLICT (stream) DO NOTHING";
    tx.run(new, [stream.into(), (floor - 1).into()]).await?;
    let row = tx.row(sql, [stream.into()]).await?;
    row.ok_or(DbErr::RecordNotInserted)?.try_get_by_index(0)
}

/// Notes events as handled; answers which of them are new.
pub(crate) async fn note(
    tx: &DatabaseTransaction,
    stream: &str,
    seqs: &[i64],
    now_ms: i64,
) -> Result<HashSet<i64>, DbErr> {
    if seqs.is_empty() {
        return Ok(HashSet::new());
    }
    let values = [stream.into(), now_ms.into(), list::numbers(seqs).into()];
    let rows = tx.rows(NOTE, values).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Advances the mark over the unbroken rows just above it, up to the first gap.
pub(crate) async fn advance(tx: &DatabaseTransaction, stream: &str) -> Result<(), DbErr> {
    tx.run(ADVANCE, [stream.into()]).await.map(|_| ())
}

/// How many events of each stream were dropped before they were handled here.
pub(crate) async fn missed(connection: &impl Sql) -> Result<Vec<(String, i64)>, DbErr> {
    let rows = connection.rows("SELECT stream, missed FROM marks ORDER BY stream", []).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// The mark and the highest seq handled; zeros before the first event.
pub(crate) async fn position(connection: &impl Sql, stream: &str) -> Result<(i64, i64), DbErr> {
    let sql = "SELECT mark, highest FROM marks WHERE stream = $1";
    match connection.row(sql, [stream.into()]).await? {
        Some(row) => Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)),
        None => Ok((0, 0)),
    }
}

/// Rows go some time after the mark passed them.
pub(crate) async fn prune(database: &Database, stream: &str, now_ms: i64) -> Result<(), DbErr> {
    let before = now_ms - KEEP_MS;
    let oldest = "SELECT handled_at FROM inbox WHERE stream = $1 ORDER BY seq LIMIT 1";
    let oldest = database.reader().row(oldest, [stream.into()]).await?;
    let oldest = oldest.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
    if oldest.is_none_or(|handled_at| handled_at >= before) {
        return Ok(());
    }
    let tx = database.begin().await?;
    lock_mark(&tx, stream, 1).await?;
    tx.run(PRUNE, [stream.into(), before.into()]).await?;
    tx.commit().await
}

const MISS: &str = "
UPDATE marks SET
    missed = missed + ($2 - mark) - (
        SELECT COUNT(*) FROM inbox WHERE stream = $1 AND seq > marks.mark AND seq <= $2),
    highest = CASE WHEN highest < $2 THEN $2 ELSE highest END,
    mark = $2
WHERE stream = $1";

const NOTE: Text = differs(
    "INSERT INTO inbox (stream, seq, handled_at)
     SELECT $1, value, $2 FROM json_each($3) WHERE TRUE
     ON CONFLICT DO NOTHING RETURNING seq",
    "INSERT INTO inbox (stream, seq, handled_at)
     SELECT $1, CAST(value AS BIGINT), $2 FROM jsonb_array_elements_text($3::jsonb)
     ON CONFLICT DO NOTHING RETURNING seq",
);

const ADVANCE: &str = "
UPDATE marks SET
    highest = COALESCE(
        (SELECT MAX(seq) FROM inbox WHERE stream = $1 AND seq > marks.highest), highest),
    mark = COALESCE((
        SELECT MAX(run.seq) FROM (
            SELECT seq, seq - ROW_NUMBER() OVER (ORDER BY seq) AS start
            FROM inbox WHERE stream = $1 AND seq > marks.mark
        ) AS run WHERE run.start = marks.mark
    ), mark)
WHERE stream = $1";

/// Up to the first that is not yet old enough.
const PRUNE: &str = "
DELETE FROM inbox WHERE stream = $1
    AND seq <= (SELECT mark FROM marks WHERE stream = $1)
    AND seq < COALESCE(
        (SELECT seq FROM inbox WHERE stream = $1 AND handled_at >= $2 ORDER BY seq LIMIT 1),
        9223372036854775807)";
