//! Released batches that the broker seems to have lost: overtaken by later ones, or missing though
//! their queue is empty. They go again, a few times; then they are parked.

use carillon_service_kit::database::{Sql, Text, differs, same};
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::places::{halted, with_cause};
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
