//! The rows of messages. Many travel to the database as one JSON array, which SQLite reads into a
//! table of its own first: joined as it is, it would be parsed again for every row of the day.
//! Rows of a batch are found by `batch_id` alone, for the day would win over its index.

use std::{collections::BTreeSet, ops::Range};

use carillon_contracts::{
    events::v1::MessageChange,
    ids::{BatchId, MessageId},
    time,
    vocabulary::MessageState,
};
use carillon_service_kit::database::Sql as _;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use serde_json::{Value as Json, json};

/// A row as a claim or a record leaves it.
pub(crate) struct Written {
    pub message: MessageId,
    pub position: u32,
    pub state: MessageState,
    pub reason: &'static str,
    pub attempt: u32,
    pub units: u32,
    pub next_attempt_ms: Option<i64>,
}

/// A queued row that a later attempt looks at.
pub(crate) struct Queued {
    pub message: MessageId,
    pub position: u32,
    pub reason: String,
    pub attempt: u32,
    pub units: u32,
}

/// What a call came to, ready to be written.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub message: MessageId,
    /// The claim that this is the outcome of.
    pub claim: i64,
    /// The attempts that count: one less where the call was not begun.
    pub keep_attempt: u32,
    pub state: MessageState,
    pub reason: &'static str,
    pub next_attempt_ms: Option<i64>,
    pub provider_id: String,
    pub provider_code: String,
}

/// Positions in the range that have a row.
pub(crate) async fn present(
    tx: &DatabaseTransaction,
    batch: BatchId,
    range: &Range<usize>,
) -> Result<BTreeSet<usize>, DbErr> {
    let edge = |position: usize| i64::try_from(position).unwrap_or(i64::MAX);
    let sql = "SELECT position FROM messages
               WHERE batch_id = $1 AND position >= $2 AND position < $3";
    let values = [batch.uuid().into(), edge(range.start).into(), edge(range.end).into()];
    let rows = tx.rows(sql, values).await?;
    rows.iter()
        .map(|row| row.try_get_by_index::<u32>(0).map(|position| position as usize))
        .collect()
}

/// Units that the batch's grant is spent on: of rows sending, posted, or queued after an attempt.
pub(crate) async fn used(tx: &DatabaseTransaction, batch: BatchId) -> Result<i64, DbErr> {
    let sql = "SELECT COALESCE(SUM(units), 0) FROM messages
               WHERE batch_id = $1 AND (
                   state IN ('sending', 'sent', 'delivered', 'undelivered', 'unknown')
                   OR state = 'queued' AND attempt > 0)";
    let row = tx.row(sql, [batch.uuid().into()]).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Which worker writes, and by which of its claims: a record of an earlier claim, repeated after
/// its attempt was undone, must not touch the rows of a later one.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    pub epoch: i64,
    pub claim: i64,
    pub now_ms: i64,
}

/// The first attempt: a row that is already there stays as it is, and its position is not in the
/// answer.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    writer: Writer,
    rows: &[Written],
) -> Result<BTreeSet<u32>, DbErr> {
    let values = [
        run_day.into(),
        batch.uuid().into(),
        writer.epoch.into(),
        writer.claim.into(),
        writer.now_ms.into(),
        written(rows).into(),
    ];
    let inserted = tx
        .rows(
            "INSERT INTO messages (run_day, batch_id, worker_epoch, claim, changed_at,
                 id, position, state, reason, attempt, units, next_attempt_at)
             SELECT $1, $2, $3, $4, $5, unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3,
                 value ->> 4, value ->> 5, value ->> 6
             FROM json_each($6) WHERE true
             ON CONFLICT DO NOTHING RETURNING position",
            values,
        )
        .await?;
    inserted.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// A later attempt, or the end of waiting: only rows still `queued` move.
pub(crate) async fn update_queued(
    tx: &DatabaseTransaction,
    run_day: i32,
    writer: Writer,
    rows: &[Written],
) -> Result<(), DbErr> {
    tx.run(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS id, value ->> 2 AS state, value ->> 3 AS reason,
                 value ->> 4 AS attempt, value ->> 6 AS next_attempt_at
             FROM json_each($5)
         )
         UPDATE messages SET worker_epoch = $2, claim = $3, changed_at = $4, state = given.state,
             reason = given.reason, attempt = given.attempt, next_attempt_at = given.next_attempt_at
         FROM given
         WHERE messages.run_day = $1 AND messages.id = given.id AND messages.state = 'queued'",
        [
            run_day.into(),
            writer.epoch.into(),
            writer.claim.into(),
            writer.now_ms.into(),
            written(rows).into(),
        ],
    )
    .await
    .map(|_| ())
}

fn written(rows: &[Written]) -> String {
    let rows: Vec<Json> = rows
        .iter()
        .map(|row| {
            json!([
                row.message.uuid().simple().to_string(),
                row.position,
                row.state.word(),
                row.reason,
                row.attempt,
                row.units,
                row.next_attempt_ms,
            ])
        })
        .collect();
    Json::Array(rows).to_string()
}

/// Writes outcomes of this worker's own claims. Over `unknown`, where a takeover came first, only
/// certainty is written.
pub(crate) async fn record(
    tx: &DatabaseTransaction,
    run_day: i32,
    epoch: i64,
    now_ms: i64,
    records: &[Recorded],
) -> Result<Vec<MessageChange>, DbErr> {
    let rows: Vec<Json> = records
        .iter()
        .map(|row| {
            json!([
                row.message.uuid().simple().to_string(),
                row.claim,
                row.state.word(),
                row.reason,
                row.keep_attempt,
                row.next_attempt_ms,
                row.provider_id,
                row.provider_code,
            ])
        })
        .collect();
    let values =
        [run_day.into(), epoch.into(), now_ms.into(), Json::Array(rows).to_string().into()];
    let changed = tx
        .rows(
            "WITH given AS MATERIALIZED (
                 SELECT unhex(value ->> 0) AS id, value ->> 1 AS claim, value ->> 2 AS state,
                     value ->> 3 AS reason, value ->> 4 AS attempt, value ->> 5 AS next_attempt_at,
                     value ->> 6 AS provider_id, value ->> 7 AS provider_code
                 FROM json_each($4)
             )
             UPDATE messages SET changed_at = $3, state = given.state, reason = given.reason,
                 attempt = given.attempt, next_attempt_at = given.next_attempt_at,
                 provider_id = given.provider_id, provider_code = given.provider_code
             FROM given
             WHERE messages.run_day = $1 AND messages.id = given.id
                 AND messages.worker_epoch = $2 AND messages.claim = given.claim
                 AND (messages.state = 'sending'
                     OR messages.state = 'unknown' AND given.state IN ('sent', 'failed'))
             RETURNING messages.position, messages.state, messages.reason, messages.units,
                 messages.attempt, messages.changed_at, messages.provider_code",
            values,
        )
        .await?;
    changed.iter().map(change_of).collect()
}

pub(crate) fn change_of(row: &QueryResult) -> Result<MessageChange, DbErr> {
    let changed_at: i64 = row.try_get("", "changed_at")?;
    Ok(MessageChange {
        position: row.try_get("", "position")?,
        state: row.try_get("", "state")?,
        reason: row.try_get("", "reason")?,
        units: row.try_get("", "units")?,
        attempt: row.try_get("", "attempt")?,
        change_time: Timestamp::from_millisecond(changed_at).ok().map(time::to_wire),
        provider_code: row.try_get("", "provider_code")?,
    })
}

/// Queued rows to look at: those whose time has come, all of them past the deadline, and those
/// that wait for money, for billing has just been asked.
pub(crate) async fn queued(
    tx: &DatabaseTransaction,
    batch: BatchId,
    now_ms: i64,
    past_deadline: bool,
) -> Result<Vec<Queued>, DbErr> {
    let sql = "SELECT id, position, reason, attempt, units FROM messages
               WHERE batch_id = $1 AND state = 'queued' AND (
                   $3 OR next_attempt_at <= $2
                   OR reason IN ('insufficient_balance', 'billing_unavailable'))
               ORDER BY position";
    let values = [batch.uuid().into(), now_ms.into(), past_deadline.into()];
    let rows = tx.rows(sql, values).await?;
    rows.iter()
        .map(|row| {
            Ok(Queued {
                message: MessageId::new(row.try_get("", "id")?),
                position: row.try_get("", "position")?,
                reason: row.try_get("", "reason")?,
                attempt: row.try_get("", "attempt")?,
                units: row.try_get("", "units")?,
            })
        })
        .collect()
}

/// Units have come free: rows that wait for money are looked at again.
pub(crate) async fn wake_short(
    tx: &DatabaseTransaction,
    batch: BatchId,
    now_ms: i64,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE messages SET next_attempt_at = $2
         WHERE batch_id = $1 AND state = 'queued'
             AND reason = 'insufficient_balance' AND next_attempt_at > $2",
        [batch.uuid().into(), now_ms.into()],
    )
    .await
    .map(|_| ())
}
