//! Released batches that the broker seems to have lost: overtaken by later ones, or missing though
//! their queue is empty. They go again, a few times; then they are parked.

use carillon_contracts::{
    ids::{BatchId, CampaignId, OrganisationId, RunId},
    jobs::v1::{Channel, MessageClass},
};
use carillon_service_kit::database::{Sql, Text, differs, same};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{
    narrow,
    places::{halted, with_cause},
};
use crate::queue::Queue;

/// Batches that go again in one transaction, at most.
const MOST_AT_ONCE: i64 = 1_000;

/// When the newest batch of the queue was released that has progressed since.
pub(crate) async fn progressed_of_all_organisations(
    connection: &impl Sql,
    queue: Queue,
) -> Result<Option<i64>, DbErr> {
    let values = [i32::from(queue.channel).into(), i32::from(queue.class).into()];
    let row = connection.row(PROGRESSED, values).await?;
    row.map_or(Ok(None), |row| row.try_get_by_index(0))
}

pub(super) const PROGRESSED: Text = same(
    "SELECT MAX(released_at) FROM batches
     WHERE channel = $1 AND class = $2 AND progress_at >= released_at",
);

/// Lets batches go again that were sent by `sent_by` and have made no progress after `idle_since`;
/// parks those to which it has happened `most` times. Answers how many go again, and who is parked.
pub(crate) async fn overtake_of_all_organisations(
    tx: &DatabaseTransaction,
    queue: Queue,
    (sent_by, idle_since): (i64, i64),
    most: i64,
    now: i64,
) -> Result<(u64, Vec<Uuid>), DbErr> {
    let values = [
        i32::from(queue.channel).into(),
        i32::from(queue.class).into(),
        sent_by.into(),
        idle_since.into(),
        most.into(),
        now.into(),
        MOST_AT_ONCE.into(),
    ];
    let (mut again, mut parked) = (0, Vec::new());
    for row in tx.rows(OVERTAKE, values).await? {
        if row.try_get_by_index::<bool>(1)? {
            parked.push(row.try_get_by_index(0)?);
        } else {
            again += 1;
        }
    }
    Ok((again, parked))
}

macro_rules! overtake {
    ($lock:literal) => {
        concat!(
            "
UPDATE batches SET overtaken = overtaken + 1, taken_until = NULL,
    sent = (overtaken + 1 >= $5),
    parked_at = CASE WHEN overtaken + 1 >= $5 THEN $6 END, ",
            with_cause!("$6"),
            "
WHERE seq IN (
    SELECT seq FROM batches WHERE channel = $1 AND class = $2
        AND sent AND NOT accepted AND NOT closed AND parked_at IS NULL
        AND released_at IS NOT NULL AND sent_at <= $3
        AND (progress_at IS NULL OR progress_at <= $4)
    ORDER BY sent_at LIMIT $7",
            $lock,
            "
) RETURNING batch_id, sent"
        )
    };
}

pub(super) const OVERTAKE: Text = differs(overtake!(""), overtake!(" FOR UPDATE SKIP LOCKED"));

/// Parked batches whose end has come wait for a place again, to be settled with their cause; so do
/// those parked with a cause before `long_ago`. Answers how many.
pub(crate) async fn again_when_ended_of_all_organisations(
    tx: &DatabaseTransaction,
    long_ago: i64,
    now: i64,
) -> Result<u64, DbErr> {
    let changed = tx.run(AGAIN_WHEN_ENDED, [now.into(), long_ago.into()]).await?;
    Ok(changed.rows_affected())
}

macro_rules! again_when_ended {
    ($lock:literal) => {
        concat!(
            "
UPDATE batches SET released_at = NULL, parked_at = NULL, overtaken = 0, sent = FALSE,
    taken_until = NULL, ",
            with_cause!("$1"),
            "
WHERE seq IN (
    SELECT p.seq FROM batches p WHERE p.parked_at IS NOT NULL AND (
        (p.cause = 0 AND (p.deadline <= $1 OR ",
            halted!("p", "3"),
            ")) OR (p.cause <> 0 AND p.parked_at <= $2))",
            $lock,
            "
)"
        )
    };
}

pub(super) const AGAIN_WHEN_ENDED: Text =
    differs(again_when_ended!(""), again_when_ended!(" FOR UPDATE OF p SKIP LOCKED"));

/// Whether any is parked: asked first, so that nothing is written for nothing.
pub(crate) async fn parked_in_any_organisation(connection: &impl Sql) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM batches WHERE parked_at IS NOT NULL LIMIT 1";
    Ok(connection.row(sql, []).await?.is_some())
}

/// A batch that waits for an operator.
pub(crate) struct ParkedBatch {
    pub batch: BatchId,
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub run: RunId,
    pub channel: Channel,
    pub class: MessageClass,
    pub unattempted: i64,
    /// Milliseconds since 1970, as all instants here.
    pub deadline: i64,
    pub cause: i32,
    pub parked_at: i64,
}

impl ParkedBatch {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let wrong = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
        Ok(Self {
            batch: BatchId::new(row.try_get_by_index(0)?),
            organisation: OrganisationId::new(row.try_get_by_index(1)?),
            campaign: CampaignId::new(row.try_get_by_index(2)?),
            run: RunId::new(row.try_get_by_index(3)?),
            channel: Channel::try_from(narrow::<i32>(row, 4)?).map_err(|error| wrong(&error))?,
            class: MessageClass::try_from(narrow::<i32>(row, 5)?).map_err(|error| wrong(&error))?,
            unattempted: row.try_get_by_index(6)?,
            deadline: row.try_get_by_index(7)?,
            cause: narrow(row, 8)?,
            parked_at: row.try_get_by_index(9)?,
        })
    }
}

macro_rules! parked {
    ($which:literal) => {
        concat!(
            "SELECT batch_id, organisation_id, campaign_id, run_id, channel, class, unattempted,
                 deadline, cause, parked_at
             FROM batches WHERE parked_at IS NOT NULL ",
            $which
        )
    };
}

pub(super) const PARKED: Text = same(parked!("ORDER BY parked_at, seq LIMIT $1"));

/// The longest parked first.
pub(crate) async fn parked_of_all_organisations(
    connection: &impl Sql,
    limit: i64,
) -> Result<Vec<ParkedBatch>, DbErr> {
    connection.rows(PARKED, [limit.into()]).await?.iter().map(ParkedBatch::read).collect()
}

pub(crate) async fn parked_count_of_all_organisations(connection: &impl Sql) -> Result<i64, DbErr> {
    let sql = "SELECT COUNT(*) FROM batches WHERE parked_at IS NOT NULL";
    connection.row(sql, []).await?.map_or(Ok(0), |row| row.try_get_by_index(0))
}

pub(crate) async fn parked_batch_of_any_organisation(
    connection: &impl Sql,
    batch: BatchId,
) -> Result<Option<ParkedBatch>, DbErr> {
    let row = connection.row(parked!("AND batch_id = $1"), [batch.uuid().into()]).await?;
    row.as_ref().map(ParkedBatch::read).transpose()
}

/// Lets a parked batch wait for a place again. Answers whether it was there.
pub(crate) async fn unpark_of_any_organisation(
    tx: &DatabaseTransaction,
    batch: BatchId,
) -> Result<bool, DbErr> {
    let sql = "UPDATE batches SET released_at = NULL, parked_at = NULL, overtaken = 0,
                   sent = FALSE, taken_until = NULL
               WHERE batch_id = $1 AND parked_at IS NOT NULL";
    Ok(tx.run(sql, [batch.uuid().into()]).await?.rows_affected() > 0)
}

/// The same, to be settled by whoever gets it: as expired past its deadline, else as cancelled.
pub(crate) async fn give_up_parked_of_any_organisation(
    tx: &DatabaseTransaction,
    batch: BatchId,
    now: i64,
) -> Result<bool, DbErr> {
    let sql = "UPDATE batches SET block = NULL,
                   cause = CASE WHEN cause <> 0 THEN cause WHEN deadline <= $2 THEN 2 ELSE 1 END
               WHERE batch_id = $1 AND parked_at IS NOT NULL";
    tx.run(sql, [batch.uuid().into(), now.into()]).await?;
    unpark_of_any_organisation(tx, batch).await
}

/// Whether any of the queue's batches could be overtaken.
pub(crate) async fn out_in_any_organisation(
    connection: &impl Sql,
    queue: Queue,
    sent_by: i64,
) -> Result<bool, DbErr> {
    let values = [i32::from(queue.channel).into(), i32::from(queue.class).into(), sent_by.into()];
    Ok(connection.row(OUT, values).await?.is_some())
}

pub(super) const OUT: Text = same(
    "SELECT 1 FROM batches WHERE channel = $1 AND class = $2
     AND sent AND NOT accepted AND NOT closed AND parked_at IS NULL AND sent_at <= $3 LIMIT 1",
);
