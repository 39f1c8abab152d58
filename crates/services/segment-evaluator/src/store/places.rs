//! Places: how many of a lane's batches are out. A lane is an organisation's batches of one channel
//! and class. Places are counted from the batches, never kept as a counter.

use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Channel, MessageClass},
};
use carillon_service_kit::database::{Sql, Text, same};
use sea_orm::{DatabaseTransaction, DbErr, Value};
use uuid::Uuid;

use crate::domain::places::{RECENT_MS, room};

struct Lane {
    organisation: Uuid,
    channel: i64,
    class: i64,
    room: i64,
}

impl Lane {
    fn key(&self) -> [Value; 3] {
        [self.organisation.into(), self.channel.into(), self.class.into()]
    }
}

pub(crate) async fn open_lanes(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    channel: Channel,
    class: MessageClass,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO lanes (organisation_id, channel, class) VALUES ($1, $2, $3)
         ON CONFLICT (organisation_id, channel, class) DO NOTHING",
        [organisation.uuid().into(), i32::from(channel).into(), i32::from(class).into()],
    )
    .await
    .map(|_| ())
}

/// Lanes in which a batch waits and there is room for it; of all, or of one.
async fn lanes(connection: &impl Sql, one: Option<&Lane>, now: i64) -> Result<Vec<Lane>, DbErr> {
    let times = [(now - RECENT_MS).into(), now.into()];
    let rows = match one {
        None => connection.rows(LANES, times).await?,
        Some(lane) => connection.rows(LANE, times.into_iter().chain(lane.key())).await?,
    };
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        let room = room(row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        if room > 0 {
            open.push(Lane {
                organisation: row.try_get_by_index(0)?,
                channel: row.try_get_by_index(1)?,
                class: row.try_get_by_index(2)?,
                room,
            });
        }
    }
    Ok(open)
}

/// Halt 2 is `HALT_PAUSED`, halt 3 `HALT_CANCELLED`.
macro_rules! halted {
    ($batch:literal, $halt:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM halts h WHERE h.organisation_id = ",
            $batch,
            ".organisation_id AND h.campaign_id = ",
            $batch,
            ".campaign_id AND h.halt = ",
            $halt,
            ")"
        )
    };
}
pub(super) use halted;

/// A batch that was accepted holds no place past its deadline: nothing of it waits any longer. A
/// pause neither keeps a place nor stops the deadline.
macro_rules! lanes {
    ($where:literal) => {
        concat!(
            "
SELECT l.organisation_id, l.channel, l.class,
    (SELECT COUNT(*) FROM batches p WHERE p.organisation_id = l.organisation_id
        AND p.channel = l.channel AND p.class = l.class
        AND p.released_at IS NOT NULL AND p.given_up_at IS NULL AND p.parked_at IS NULL
        AND (NOT p.accepted OR p.deadline > $2) AND NOT ",
            halted!("p", "2"),
            "),
    (SELECT COUNT(*) FROM batches g WHERE g.organisation_id = l.organisation_id
        AND g.channel = l.channel AND g.class = l.class
        AND g.given_up_at IS NOT NULL AND g.given_up_at > $1)
FROM lanes l
WHERE EXISTS (SELECT 1 FROM batches w WHERE w.organisation_id = l.organisation_id
    AND w.channel = l.channel AND w.class = l.class AND w.released_at IS NULL
    AND (w.deadline <= $2 OR NOT ",
            halted!("w", "2"),
            "))",
            $where
        )
    };
}

pub(super) const LANES: Text = same(lanes!(""));
const LANE: Text = same(lanes!(" AND l.organisation_id = $3 AND l.channel = $4 AND l.class = $5"));

pub(crate) async fn room_in_any_organisation(
    connection: &impl Sql,
    now: i64,
) -> Result<bool, DbErr> {
    Ok(!lanes(connection, None, now).await?.is_empty())
}

/// Gives every free place to the batch that has waited longest in its lane. One of a cancelled
/// campaign or past its deadline goes with the cause in place of its block. Answers how many were
/// released.
pub(crate) async fn release_in_all_organisations(
    tx: &DatabaseTransaction,
    now: i64,
) -> Result<u64, DbErr> {
    let mut released = 0;
    for lane in lanes(tx, None, now).await? {
        // Another replica that gives away places of the lane gives them all.
        if tx.row(LOCK_LANE, lane.key()).await?.is_none() {
            continue;
        }
        // Counted again: what was counted before the lock may have been given away.
        for lane in lanes(tx, Some(&lane), now).await? {
            let values = lane.key().into_iter().chain([lane.room.into(), now.into()]);
            released += tx.run(RELEASE, values).await?.rows_affected();
        }
    }
    Ok(released)
}

const LOCK_LANE: &str = "SELECT 1 FROM lanes
     WHERE organisation_id = $1 AND channel = $2 AND class = $3 FOR UPDATE SKIP LOCKED";

/// Cause 1 is `CAUSE_CANCELLED`, 2 `CAUSE_EXPIRED`; what goes with a cause is given no block.
macro_rules! with_cause {
    ($now:literal) => {
        concat!(
            "cause = CASE WHEN cause <> 0 THEN cause WHEN ",
            halted!("batches", "3"),
            " THEN 1 WHEN deadline <= ",
            $now,
            " THEN 2 ELSE 0 END,
    block = CASE WHEN cause <> 0 OR deadline <= ",
            $now,
            " OR ",
            halted!("batches", "3"),
            " THEN NULL ELSE block END"
        )
    };
}
pub(super) use with_cause;

pub(super) const RELEASE: Text = same(concat!(
    "
UPDATE batches SET released_at = $5, ",
    with_cause!("$5"),
    "
WHERE seq IN (
    SELECT w.seq FROM batches w
    WHERE w.organisation_id = $1 AND w.channel = $2 AND w.class = $3 AND w.released_at IS NULL
        AND (w.deadline <= $5 OR NOT ",
    halted!("w", "2"),
    ")
    ORDER BY w.seq LIMIT $4
)"
));
