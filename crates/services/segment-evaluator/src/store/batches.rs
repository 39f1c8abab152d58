//! Batches: cut by the plan, published by the release, followed by their totals.

use carillon_contracts::{
    ids::{BatchId, OrganisationId, RunId},
    jobs::v1::{Channel, MessageClass, SealedBlock},
};
use carillon_service_kit::database::{Sql, Text, differs, same};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{json, listed::listed, narrow};

pub(crate) struct NewBatch {
    pub batch: BatchId,
    pub channel: Channel,
    pub class: MessageClass,
    pub campaign: Uuid,
    pub run: RunId,
    pub run_day: i32,
    pub deadline: i64,
    pub recipients: u32,
    pub customer_ids: Vec<u8>,
    pub block: SealedBlock,
}

pub(crate) async fn insert_batches(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batches: Vec<NewBatch>,
    planned_at: i64,
) -> Result<(), DbErr> {
    for new in batches {
        tx.run(
            INSERT,
            [
                new.batch.uuid().into(),
                organisation.uuid().into(),
                new.campaign.into(),
                new.run.uuid().into(),
                new.run_day.into(),
                i32::from(new.channel).into(),
                i32::from(new.class).into(),
                new.deadline.into(),
                new.customer_ids.into(),
                new.block.key_id.into(),
                new.block.wrapped_key.to_vec().into(),
                new.block.ciphertext.to_vec().into(),
                i64::from(new.recipients).into(),
                planned_at.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

const INSERT: &str = "
INSERT INTO batches (batch_id, organisation_id, campaign_id, run_id, run_day, channel, class,
    deadline, customer_ids, key_id, wrapped_key, block, unattempted, planned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// A released batch whose job is not known to be with the broker.
pub(crate) struct TakenBatch {
    pub batch: Uuid,
    pub organisation: Uuid,
    pub campaign: Uuid,
    pub run: Uuid,
    pub run_day: i32,
    pub channel: i32,
    pub class: i32,
    pub deadline: i64,
    pub customer_ids: Vec<u8>,
    pub key_id: String,
    pub wrapped_key: Vec<u8>,
    pub block: Option<Vec<u8>>,
    pub cause: i32,
}

pub(crate) async fn unsent_in_any_organisation(
    connection: &impl Sql,
    now: i64,
) -> Result<bool, DbErr> {
    Ok(connection.row(UNSENT, [now.into()]).await?.is_some())
}

pub(super) const UNSENT: Text = same(
    "SELECT 1 FROM batches WHERE released_at IS NOT NULL AND NOT sent AND parked_at IS NULL
     AND (taken_until IS NULL OR taken_until <= $1) LIMIT 1",
);

/// Takes the next jobs to publish, round-robin by organisation and channel: until then nobody else
/// publishes them. Answers their numbers.
pub(crate) async fn take_unsent_of_all_organisations(
    tx: &DatabaseTransaction,
    now: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<i64>, DbErr> {
    let rows = tx.rows(TAKE, [now.into(), until.into(), limit.into()]).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

macro_rules! take {
    ($lock:literal) => {
        concat!(
            "
UPDATE batches SET taken_until = $2 WHERE seq IN (
    SELECT seq FROM batches WHERE seq IN (
        SELECT seq FROM (
            SELECT seq, ROW_NUMBER() OVER (
                PARTITION BY organisation_id, channel, class ORDER BY seq
            ) AS turn
            FROM batches WHERE released_at IS NOT NULL AND NOT sent AND parked_at IS NULL
                AND (taken_until IS NULL OR taken_until <= $1)
        ) AS next ORDER BY turn, seq LIMIT $3
    ) AND NOT sent AND (taken_until IS NULL OR taken_until <= $1)",
            $lock,
            "
) RETURNING seq"
        )
    };
}

pub(super) const TAKE: Text = differs(take!(""), take!(" FOR UPDATE SKIP LOCKED"));

/// The jobs by their numbers, in the order in which they are to be published; each by itself, for a
/// row that cannot be read must not hold up the others.
pub(crate) async fn taken_of_all_organisations(
    connection: &impl Sql,
    seqs: &[i64],
) -> Result<Vec<(i64, Result<TakenBatch, DbErr>)>, DbErr> {
    let rows = connection.rows(TAKEN, [json(&seqs)?.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, TakenBatch::read(row)))).collect()
}

impl TakenBatch {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            batch: row.try_get_by_index(1)?,
            organisation: row.try_get_by_index(2)?,
            campaign: row.try_get_by_index(3)?,
            run: row.try_get_by_index(4)?,
            run_day: narrow(row, 5)?,
            channel: narrow(row, 6)?,
            class: narrow(row, 7)?,
            deadline: row.try_get_by_index(8)?,
            customer_ids: row.try_get_by_index(9)?,
            key_id: row.try_get_by_index(10)?,
            wrapped_key: row.try_get_by_index(11)?,
            block: row.try_get_by_index(12)?,
            cause: narrow(row, 13)?,
        })
    }
}

pub(super) const TAKEN: Text = listed!(
    "SELECT seq, batch_id, organisation_id, campaign_id, run_id, run_day, channel, class, deadline,
        customer_ids, key_id, wrapped_key, block, cause
     FROM batches WHERE seq", numbers "$1", "
     ORDER BY ROW_NUMBER() OVER (PARTITION BY organisation_id, channel, class ORDER BY seq), seq"
);

/// The encoded content of a run, and the trace that it belongs to.
pub(crate) async fn content_of(
    connection: &impl Sql,
    organisation: OrganisationId,
    run: RunId,
) -> Result<Option<(Vec<u8>, String)>, DbErr> {
    let sql = "SELECT content, traceparent FROM runs WHERE run_id = $1 AND organisation_id = $2";
    let row = connection.row(sql, [run.uuid().into(), organisation.uuid().into()]).await?;
    row.map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).transpose()
}

/// Answers which are marked. One whose totals are just being written is left for the next time:
/// waiting for it could become a circle.
pub(crate) async fn mark_sent(
    tx: &DatabaseTransaction,
    seqs: &[i64],
    at: i64,
) -> Result<Vec<i64>, DbErr> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.rows(MARK_SENT, [json(&seqs)?.into(), at.into()]).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

const MARK_SENT: Text = differs(
    "UPDATE batches SET sent = TRUE, sent_at = $2, taken_until = NULL
     WHERE seq IN (SELECT value FROM json_each($1)) RETURNING seq",
    "UPDATE batches SET sent = TRUE, sent_at = $2, taken_until = NULL
     WHERE seq IN (
        SELECT seq FROM batches WHERE seq IN (
            SELECT v::bigint FROM jsonb_array_elements_text($1::jsonb) AS l(v)
        ) FOR UPDATE SKIP LOCKED
     ) RETURNING seq",
);

/// What the broker refused can be taken again at once.
pub(crate) async fn give_back(tx: &DatabaseTransaction, seqs: &[i64]) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let sql = differs(
        "UPDATE batches SET taken_until = NULL
         WHERE NOT sent AND seq IN (SELECT value FROM json_each($1))",
        "UPDATE batches SET taken_until = NULL WHERE seq IN (
            SELECT seq FROM batches WHERE NOT sent AND seq IN (
                SELECT v::bigint FROM jsonb_array_elements_text($1::jsonb) AS l(v)
            ) FOR UPDATE SKIP LOCKED
         )",
    );
    tx.run(sql, [json(&seqs)?.into()]).await.map(|_| ())
}

/// Gives back what was taken until then by whom the answer never reached. Where another took some in
/// the same millisecond they may go twice, which the claim makes harmless.
pub(crate) async fn give_back_taken_until(
    tx: &DatabaseTransaction,
    until: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE batches SET taken_until = NULL WHERE released_at IS NOT NULL AND NOT sent
               AND parked_at IS NULL AND taken_until = $1";
    tx.run(sql, [until.into()]).await.map(|_| ())
}

/// An in-memory broker forgot everything at the last stop, so what is not accepted goes again. The
/// claim makes it harmless. Nobody else has taken anything: the process is alone.
pub(crate) async fn forget_sent(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.run(FORGET_PARKED, []).await?;
    tx.run(FORGET_SENT, []).await.map(|_| ())
}

pub(super) const FORGET_PARKED: Text =
    same("UPDATE batches SET parked_at = NULL, overtaken = 0 WHERE parked_at IS NOT NULL");

/// What is neither accepted nor closed holds a place, which an index tells.
pub(super) const FORGET_SENT: Text = same(
    "UPDATE batches SET sent = FALSE, taken_until = NULL
     WHERE NOT accepted AND NOT closed
     AND released_at IS NOT NULL AND given_up_at IS NULL AND parked_at IS NULL",
);

/// What a batch's newest totals say of its place.
pub(crate) struct BatchTotals {
    pub version: i64,
    pub accepted: bool,
    pub unattempted: u32,
    /// Messages that wait for throttle or money.
    pub held_up: u32,
    pub closed: bool,
}

/// Keeps totals that are newer than those known; what was accepted or closed stays so, and proves
/// that the job was sent. A place is given up, or taken back, as the newest totals say. The sealed
/// block goes when the batch is closed. Whatever is heard of a parked batch, it is parked no longer.
pub(crate) async fn record_totals(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
    totals: &BatchTotals,
    at: i64,
) -> Result<(), DbErr> {
    let newer = tx
        .run(
            RECORD_TOTALS,
            [
                batch.uuid().into(),
                organisation.uuid().into(),
                totals.version.into(),
                totals.accepted.into(),
                i64::from(totals.unattempted).into(),
                totals.closed.into(),
                at.into(),
                i64::from(totals.held_up).into(),
            ],
        )
        .await?;
    if newer.rows_affected() == 0 {
        tx.run(UNPARK, [batch.uuid().into(), organisation.uuid().into(), at.into()]).await?;
    }
    Ok(())
}

pub(super) const RECORD_TOTALS: Text = same(
    "
UPDATE batches SET
    version = $3,
    progress_at = $7,
    overtaken = 0,
    parked_at = NULL,
    accepted = accepted OR $4,
    unattempted = $5,
    closed = closed OR $6,
    sent = sent OR $4 OR $6,
    block = CASE WHEN $6 THEN NULL ELSE block END,
    given_up_at = CASE
        WHEN NOT (closed OR $6 OR ((accepted OR $4) AND $5 = 0 AND $8 = 0)) THEN NULL
        ELSE COALESCE(given_up_at, $7)
    END
WHERE batch_id = $1 AND organisation_id = $2 AND version < $3",
);

pub(super) const UNPARK: Text = same(
    "UPDATE batches SET parked_at = NULL, overtaken = 0, progress_at = $3
     WHERE batch_id = $1 AND organisation_id = $2 AND parked_at IS NOT NULL",
);
