//! Places: how many of a lane's batches are out. A lane is an organisation's batches of one channel
//! and class. Places are counted from the batches, never kept as a counter.

use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Channel, MessageClass},
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::domain::places::{RECENT_MS, room};

struct Lane {
    organisation: Uuid,
    channel: i32,
    class: i32,
    room: i64,
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

/// Lanes in which a batch waits and there is room for it.
async fn lanes(connection: &impl Sql, now: i64) -> Result<Vec<Lane>, DbErr> {
    let rows = connection.rows(LANES, [(now - RECENT_MS).into(), now.into()]).await?;
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

/// A batch that was accepted holds no place past its deadline: nothing of it waits any longer.
pub(super) const LANES: &str = "
SELECT l.organisation_id, l.channel, l.class,
    (SELECT COUNT(*) FROM batches p WHERE p.organisation_id = l.organisation_id
        AND p.channel = l.channel AND p.class = l.class
        AND p.released_at IS NOT NULL AND p.given_up_at IS NULL
        AND (p.accepted = 0 OR p.deadline > $2)),
    (SELECT COUNT(*) FROM batches g WHERE g.organisation_id = l.organisation_id
        AND g.channel = l.channel AND g.class = l.class
        AND g.given_up_at IS NOT NULL AND g.given_up_at > $1)
FROM lanes l
WHERE EXISTS (SELECT 1 FROM batches w WHERE w.organisation_id = l.organisation_id
    AND w.channel = l.channel AND w.class = l.class AND w.released_at IS NULL)";

pub(crate) async fn room_in_any_organisation(
    connection: &impl Sql,
    now: i64,
) -> Result<bool, DbErr> {
    Ok(!lanes(connection, now).await?.is_empty())
}

/// Gives every free place to the batch that has waited longest in its lane. One past its deadline
/// goes with the cause in place of its block. Answers how many were released.
pub(crate) async fn release_in_all_organisations(
    tx: &DatabaseTransaction,
    now: i64,
) -> Result<u64, DbErr> {
    let mut released = 0;
    for lane in lanes(tx, now).await? {
        let changed = tx
            .run(
                RELEASE,
                [
                    lane.organisation.into(),
                    lane.channel.into(),
                    lane.class.into(),
                    lane.room.into(),
                    now.into(),
                ],
            )
            .await?;
        released += changed.rows_affected();
    }
    Ok(released)
}

/// Cause 2 is `CAUSE_EXPIRED`.
pub(super) const RELEASE: &str = "
UPDATE batches SET released_at = $5,
    cause = CASE WHEN deadline <= $5 THEN 2 ELSE cause END,
    block = CASE WHEN deadline <= $5 THEN NULL ELSE block END
WHERE seq IN (
    SELECT seq FROM batches
    WHERE organisation_id = $1 AND channel = $2 AND class = $3 AND released_at IS NULL
    ORDER BY seq LIMIT $4
)";
