//! The rows of messages. Many travel to the database as one JSON array, which SQLite reads into a
//! table of its own first: joined as it is, it would be parsed again for every row of the day.
//! Rows of a batch are found by `batch_id`; on SQLite by that alone, for the day would win over
//! its index, while PostgreSQL needs the day to know the partition.

use std::{collections::BTreeSet, ops::Range};

use carillon_contracts::{
    events::v1::MessageChange,
    ids::{BatchId, MessageId},
    time,
    vocabulary::MessageState,
};
use carillon_service_kit::database::{Sql, differs};
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use serde_json::{Value as Json, json};

use super::u32_of;
use crate::domain::unpaid::Unpaid;

/// A claim, by its worker's epoch and its number there: a record of an earlier claim, repeated
/// after its attempt was undone, must not touch the rows of a later one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClaimId {
    pub epoch: i64,
    pub number: i64,
}

/// A row as a claim leaves it.
pub(crate) struct Written {
    pub message: MessageId,
    pub position: u32,
    pub state: MessageState,
    pub reason: &'static str,
    pub attempt: u32,
    pub parts: u32,
    pub units: u32,
    pub next_attempt_ms: Option<i64>,
    /// Whether its gateway takes the same message id once only.
    pub idempotent: bool,
    /// What it leaves through, where a repeated call must leave through the same.
    pub account: String,
}

/// A row as a later attempt, or the same claim again, finds it.
pub(crate) struct Found {
    pub message: MessageId,
    pub position: u32,
    pub state: MessageState,
    pub reason: String,
    pub attempt: u32,
    pub parts: u32,
    pub units: u32,
    /// Perhaps taken already: it ends as sent, or with proof.
    pub doubtful: bool,
    pub account: String,
    /// Which claim wrote it last.
    pub claim: ClaimId,
}

/// A message that its claim may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub position: usize,
    pub attempt: u32,
    /// As the row has them: what is posted.
    pub parts: u32,
}

impl Written {
    pub(crate) const fn claimed(&self) -> Claimed {
        Claimed { position: self.position as usize, attempt: self.attempt, parts: self.parts }
    }
}

/// What a call came to, ready to be written.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub message: MessageId,
    /// The claim that this is the outcome of.
    pub claim: ClaimId,
    /// The attempts that count: one less where the call was not begun.
    pub keep_attempt: u32,
    pub state: MessageState,
    pub reason: &'static str,
    /// Of an `unknown`: when the call may be repeated, if its gateway takes a message once only.
    pub next_attempt_ms: Option<i64>,
    pub provider_id: String,
    pub provider_code: String,
    /// As the provider counts them.
    pub provider_parts: Option<u32>,
}

/// Rows in the range that are there already.
pub(crate) async fn present(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    range: &Range<usize>,
) -> Result<Vec<Found>, DbErr> {
    let edge = |position: usize| i64::try_from(position).unwrap_or(i64::MAX);
    let sql = differs(
        "SELECT id, position, state, reason, attempt, units, COALESCE(parts, units) AS parts,
             doubtful, account, worker_epoch, claim
         FROM messages WHERE +run_day = $1 AND batch_id = $2 AND position >= $3 AND position < $4",
        "SELECT id, position, state, reason, attempt, units, COALESCE(parts, units) AS parts,
             doubtful, account, worker_epoch, claim
         FROM messages WHERE run_day = $1 AND batch_id = $2 AND position >= $3 AND position < $4",
    );
    let values =
        [run_day.into(), batch.uuid().into(), edge(range.start).into(), edge(range.end).into()];
    tx.rows(sql, values).await?.iter().map(found).collect()
}

/// Rows to look at in a later attempt: those whose time has come, all of them past the deadline,
/// those that wait for money, for billing has just been asked, and those that this very claim has
/// taken already, where its answer was lost.
pub(crate) async fn due(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    claim: ClaimId,
    now_ms: i64,
    past_deadline: bool,
) -> Result<Vec<Found>, DbErr> {
    let sql = differs(
        "SELECT id, position, state, reason, attempt, units, COALESCE(parts, units) AS parts,
             doubtful, account, worker_epoch, claim
         FROM messages WHERE +run_day = $1 AND batch_id = $2 AND (
             state = 'queued' AND ($4 OR next_attempt_at <= $3
                 OR reason IN ('insufficient_balance', 'billing_unavailable'))
             OR state = 'sending' AND worker_epoch = $5 AND claim = $6)
         ORDER BY position",
        "SELECT id, position, state, reason, attempt, units, COALESCE(parts, units) AS parts,
             doubtful, account, worker_epoch, claim
         FROM messages WHERE run_day = $1 AND batch_id = $2 AND (
             state = 'queued' AND ($4 OR next_attempt_at <= $3
                 OR reason IN ('insufficient_balance', 'billing_unavailable'))
             OR state = 'sending' AND worker_epoch = $5 AND claim = $6)
         ORDER BY position",
    );
    let values = [
        run_day.into(),
        batch.uuid().into(),
        now_ms.into(),
        past_deadline.into(),
        claim.epoch.into(),
        claim.number.into(),
    ];
    tx.rows(sql, values).await?.iter().map(found).collect()
}

/// Shows every row of the batch, as it stands now.
pub(crate) async fn see_rows(
    connection: &impl Sql,
    run_day: i32,
    batch: BatchId,
    unpaid: &mut Unpaid,
) -> Result<(), DbErr> {
    let sql = differs(
        "SELECT position, state, attempt, units FROM messages
         WHERE +run_day = $1 AND batch_id = $2",
        "SELECT position, state, attempt, units FROM messages
         WHERE run_day = $1 AND batch_id = $2",
    );
    for row in connection.rows(sql, [run_day.into(), batch.uuid().into()]).await? {
        let (position, attempt) = (u32_of(&row, "position")?, u32_of(&row, "attempt")?);
        unpaid.see(position, state_of(&row)?, attempt, u32_of(&row, "units")?);
    }
    Ok(())
}

fn state_of(row: &QueryResult) -> Result<MessageState, DbErr> {
    let state: String = row.try_get("", "state")?;
    state.parse().map_err(|error| DbErr::Custom(format!("messages.state: {error}")))
}

fn found(row: &QueryResult) -> Result<Found, DbErr> {
    Ok(Found {
        message: MessageId::new(row.try_get("", "id")?),
        position: u32_of(row, "position")?,
        state: state_of(row)?,
        reason: row.try_get("", "reason")?,
        attempt: u32_of(row, "attempt")?,
        parts: u32_of(row, "parts")?,
        units: u32_of(row, "units")?,
        doubtful: row.try_get("", "doubtful")?,
        account: row.try_get("", "account")?,
        claim: ClaimId {
            epoch: row.try_get("", "worker_epoch")?,
            number: row.try_get("", "claim")?,
        },
    })
}

/// A batch's rows that one claim writes.
pub(crate) struct Writing {
    pub batch: BatchId,
    pub claim: ClaimId,
    pub rows: Vec<Written>,
}

/// First attempts: a row that is already there stays as it is, and is not in the answer.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    run_day: i32,
    now_ms: i64,
    writings: &[&Writing],
) -> Result<BTreeSet<(BatchId, u32)>, DbErr> {
    let values = [run_day.into(), now_ms.into(), written(writings).into()];
    let inserted = tx.rows(INSERT, values).await?;
    inserted
        .iter()
        .map(|row| {
            let batch = BatchId::new(row.try_get("", "batch_id")?);
            Ok((batch, u32_of(row, "position")?))
        })
        .collect()
}

const INSERT: carillon_service_kit::database::Text<'static> = differs(
    "INSERT INTO messages (run_day, changed_at, id, position, state, reason, attempt, units,
         next_attempt_at, batch_id, worker_epoch, claim, idempotent, account, parts)
     SELECT $1, $2, unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4,
         value ->> 5, value ->> 6, unhex(value ->> 7), value ->> 8, value ->> 9, value ->> 10,
         value ->> 11, value ->> 12
     FROM json_each($3) WHERE true
     ON CONFLICT DO NOTHING RETURNING batch_id, position",
    "INSERT INTO messages (run_day, changed_at, id, position, state, reason, attempt, units,
         next_attempt_at, batch_id, worker_epoch, claim, idempotent, account, parts)
     SELECT $1, $2, (value ->> 0)::uuid, (value ->> 1)::bigint, value ->> 2, value ->> 3,
         (value ->> 4)::bigint, (value ->> 5)::bigint, (value ->> 6)::bigint,
         (value ->> 7)::uuid, (value ->> 8)::bigint, (value ->> 9)::bigint,
         (value ->> 10)::boolean, value ->> 11, (value ->> 12)::bigint
     FROM jsonb_array_elements($3::jsonb) AS given(value)
     ON CONFLICT DO NOTHING RETURNING batch_id, position",
);

/// A later attempt, or the end of waiting: only rows still `queued` move.
pub(crate) async fn update_queued(
    tx: &DatabaseTransaction,
    run_day: i32,
    now_ms: i64,
    writings: &[&Writing],
) -> Result<(), DbErr> {
    let sql = differs(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS id, value ->> 2 AS state, value ->> 3 AS reason,
                 value ->> 4 AS attempt, value ->> 6 AS next_attempt_at, value ->> 8 AS epoch,
                 value ->> 9 AS claim, value ->> 10 AS idempotent, value ->> 11 AS account
             FROM json_each($3)
         )
         UPDATE messages SET changed_at = $2, worker_epoch = given.epoch, claim = given.claim,
             state = given.state, reason = given.reason, attempt = given.attempt,
             next_attempt_at = given.next_attempt_at, idempotent = given.idempotent,
             account = given.account
         FROM given
         WHERE messages.run_day = $1 AND messages.id = given.id AND messages.state = 'queued'",
        "WITH given AS MATERIALIZED (
             SELECT (value ->> 0)::uuid AS id, value ->> 2 AS state, value ->> 3 AS reason,
                 (value ->> 4)::bigint AS attempt, (value ->> 6)::bigint AS next_attempt_at,
                 (value ->> 8)::bigint AS epoch, (value ->> 9)::bigint AS claim,
                 (value ->> 10)::boolean AS idempotent, value ->> 11 AS account
             FROM jsonb_array_elements($3::jsonb) AS given(value)
         )
         UPDATE messages SET changed_at = $2, worker_epoch = given.epoch, claim = given.claim,
             state = given.state, reason = given.reason, attempt = given.attempt,
             next_attempt_at = given.next_attempt_at, idempotent = given.idempotent,
             account = given.account
         FROM given
         WHERE messages.run_day = $1 AND messages.id = given.id AND messages.state = 'queued'",
    );
    let values = [run_day.into(), now_ms.into(), written(writings).into()];
    tx.run(sql, values).await.map(|_| ())
}

fn written(writings: &[&Writing]) -> String {
    let rows =
        writings.iter().flat_map(|writing| writing.rows.iter().map(move |row| (writing, row)));
    let rows: Vec<Json> = rows
        .map(|(writing, row)| {
            json!([
                row.message.uuid().simple().to_string(),
                row.position,
                row.state.word(),
                row.reason,
                row.attempt,
                row.units,
                row.next_attempt_ms,
                writing.batch.uuid().simple().to_string(),
                writing.claim.epoch,
                writing.claim.number,
                row.idempotent,
                row.account,
                row.parts,
            ])
        })
        .collect();
    Json::Array(rows).to_string()
}

pub(crate) fn change_of(row: &QueryResult) -> Result<MessageChange, DbErr> {
    let changed_at: i64 = row.try_get("", "changed_at")?;
    Ok(MessageChange {
        position: u32_of(row, "position")?,
        state: row.try_get("", "state")?,
        reason: row.try_get("", "reason")?,
        units: u32_of(row, "units")?,
        parts: Some(u32_of(row, "parts")?),
        attempt: u32_of(row, "attempt")?,
        change_time: Timestamp::from_millisecond(changed_at).ok().map(time::to_wire),
        provider_code: row.try_get("", "provider_code")?,
    })
}

/// Rows that a claim of what is due would find, before the deadline.
pub(crate) async fn count_due(
    connection: &impl Sql,
    (run_day, batch): (i32, BatchId),
    now_ms: i64,
) -> Result<usize, DbErr> {
    let sql = differs(
        "SELECT COUNT(*) FROM messages WHERE +run_day = $1 AND batch_id = $2
             AND state = 'queued' AND (next_attempt_at <= $3
                 OR reason IN ('insufficient_balance', 'billing_unavailable'))",
        "SELECT COUNT(*) FROM messages WHERE run_day = $1 AND batch_id = $2
             AND state = 'queued' AND (next_attempt_at <= $3
                 OR reason IN ('insufficient_balance', 'billing_unavailable'))",
    );
    let values = [run_day.into(), batch.uuid().into(), now_ms.into()];
    let count = connection.row(sql, values).await?.map(|row| row.try_get_by_index::<i64>(0));
    Ok(usize::try_from(count.transpose()?.unwrap_or_default()).unwrap_or_default())
}

/// Units have come free: rows that wait for money are looked at again.
pub(crate) async fn wake_short(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    now_ms: i64,
) -> Result<(), DbErr> {
    let sql = differs(
        "UPDATE messages SET next_attempt_at = $3
         WHERE +run_day = $1 AND batch_id = $2 AND state = 'queued'
             AND reason = 'insufficient_balance' AND next_attempt_at > $3",
        "UPDATE messages SET next_attempt_at = $3
         WHERE run_day = $1 AND batch_id = $2 AND state = 'queued'
             AND reason = 'insufficient_balance' AND next_attempt_at > $3",
    );
    let values = [run_day.into(), batch.uuid().into(), now_ms.into()];
    tx.run(sql, values).await.map(|_| ())
}
