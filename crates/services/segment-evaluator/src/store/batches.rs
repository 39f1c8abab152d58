//! Batches: cut by the plan, published by the release, followed by their totals.

use carillon_contracts::{
    ids::{BatchId, OrganisationId, RunId},
    jobs::v1::{Channel, MessageClass, SealedBlock},
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::json;

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
                new.recipients.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

const INSERT: &str = "
INSERT INTO batches (batch_id, organisation_id, campaign_id, run_id, run_day, channel, class,
    deadline, customer_ids, key_id, wrapped_key, block, unattempted)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// A released batch whose job is not known to be with the broker.
pub(crate) struct UnsentBatch {
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

/// The next jobs to publish but for those left alone, round-robin by organisation and channel; by
/// their numbers, for a row that cannot be read must not hold up the others.
pub(crate) async fn unsent_of_all_organisations(
    connection: &impl Sql,
    but: &[i64],
    limit: u32,
) -> Result<Vec<(i64, Result<UnsentBatch, DbErr>)>, DbErr> {
    let rows = connection.rows(UNSENT, [limit.into(), json(&but)?.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, UnsentBatch::read(row)))).collect()
}

impl UnsentBatch {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            batch: row.try_get_by_index(1)?,
            organisation: row.try_get_by_index(2)?,
            campaign: row.try_get_by_index(3)?,
            run: row.try_get_by_index(4)?,
            run_day: row.try_get_by_index(5)?,
            channel: row.try_get_by_index(6)?,
            class: row.try_get_by_index(7)?,
            deadline: row.try_get_by_index(8)?,
            customer_ids: row.try_get_by_index(9)?,
            key_id: row.try_get_by_index(10)?,
            wrapped_key: row.try_get_by_index(11)?,
            block: row.try_get_by_index(12)?,
            cause: row.try_get_by_index(13)?,
        })
    }
}

pub(super) const UNSENT: &str = "
SELECT b.seq, b.batch_id, b.organisation_id, b.campaign_id, b.run_id, b.run_day, b.channel,
    b.class, b.deadline, b.customer_ids, b.key_id, b.wrapped_key, b.block, b.cause
FROM (
    SELECT seq, ROW_NUMBER() OVER (
        PARTITION BY organisation_id, channel, class ORDER BY seq
    ) AS turn
    FROM batches WHERE released_at IS NOT NULL AND sent = 0
        AND seq NOT IN (SELECT value FROM json_each($2))
    ORDER BY turn, seq LIMIT $1
) AS next JOIN batches b ON b.seq = next.seq
ORDER BY next.turn, next.seq";

/// The encoded content of a run.
pub(crate) async fn content_of(
    connection: &impl Sql,
    organisation: OrganisationId,
    run: RunId,
) -> Result<Option<Vec<u8>>, DbErr> {
    let sql = "SELECT content FROM runs WHERE run_id = $1 AND organisation_id = $2";
    let row = connection.row(sql, [run.uuid().into(), organisation.uuid().into()]).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

pub(crate) async fn mark_sent(tx: &DatabaseTransaction, seqs: &[i64]) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE batches SET sent = 1 WHERE seq IN (SELECT value FROM json_each($1))";
    tx.run(sql, [json(&seqs)?.into()]).await.map(|_| ())
}

/// An in-memory broker forgot everything at the last stop, so what is not accepted goes again. The
/// claim makes it harmless.
pub(crate) async fn forget_sent(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.run(FORGET_SENT, []).await.map(|_| ())
}

/// What is neither accepted nor closed holds a place, which an index tells.
pub(super) const FORGET_SENT: &str = "
UPDATE batches SET sent = 0
WHERE sent = 1 AND accepted = 0 AND closed = 0 AND released_at IS NOT NULL AND given_up_at IS NULL";

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
/// block goes when the batch is closed. Answers whether the totals were newer.
pub(crate) async fn record_totals(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
    totals: &BatchTotals,
    at: i64,
) -> Result<bool, DbErr> {
    let changed = tx
        .run(
            RECORD_TOTALS,
            [
                batch.uuid().into(),
                organisation.uuid().into(),
                totals.version.into(),
                totals.accepted.into(),
                totals.unattempted.into(),
                totals.closed.into(),
                at.into(),
                totals.held_up.into(),
            ],
        )
        .await?;
    Ok(changed.rows_affected() > 0)
}

pub(super) const RECORD_TOTALS: &str = "
UPDATE batches SET
    version = $3,
    accepted = CASE WHEN $4 THEN 1 ELSE accepted END,
    unattempted = $5,
    closed = CASE WHEN $6 THEN 1 ELSE closed END,
    sent = CASE WHEN $4 OR $6 THEN 1 ELSE sent END,
    block = CASE WHEN $6 THEN NULL ELSE block END,
    given_up_at = CASE
        WHEN NOT (closed OR $6 OR ((accepted OR $4) AND $5 = 0 AND $8 = 0)) THEN NULL
        ELSE COALESCE(given_up_at, $7)
    END
WHERE batch_id = $1 AND organisation_id = $2 AND version < $3";
