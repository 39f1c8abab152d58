//! The rows of batches.

use carillon_contracts::{
    ids::{BatchId, CampaignId, OrganisationId, RunId},
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};

use crate::open::Header;

/// What a step needs of a batch.
pub(crate) struct BatchRow {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub run: RunId,
    pub channel: Channel,
    pub deadline_ms: i64,
    pub count: u32,
    pub wanted: i64,
    pub granted: i64,
    pub version: i64,
    pub accepted: bool,
    pub closed: bool,
    pub has_job: bool,
}

pub(crate) async fn insert_missing(
    tx: &DatabaseTransaction,
    header: &Header,
    wanted: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO batches (run_day, id, organisation_id, campaign_id, run_id, channel,
             deadline_at, count, wanted)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (run_day, id) DO UPDATE SET wanted = excluded.wanted
         WHERE wanted < excluded.wanted",
        [
            header.run_day.into(),
            header.batch.uuid().into(),
            header.organisation.uuid().into(),
            header.campaign.uuid().into(),
            header.run.uuid().into(),
            header.channel.word().into(),
            header.deadline.as_millisecond().into(),
            i64::try_from(header.count()).unwrap_or(i64::MAX).into(),
            wanted.into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn read(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
) -> Result<Option<BatchRow>, DbErr> {
    let sql = "SELECT organisation_id, campaign_id, run_id, channel, deadline_at, count, wanted,
                   granted, version, accepted, closed, job IS NOT NULL AS has_job
               FROM batches WHERE run_day = $1 AND id = $2";
    let row = tx.row(sql, [run_day.into(), batch.uuid().into()]).await?;
    row.map(|row| of_row(&row)).transpose()
}

fn of_row(row: &QueryResult) -> Result<BatchRow, DbErr> {
    let channel: String = row.try_get("", "channel")?;
    Ok(BatchRow {
        organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
        campaign: CampaignId::new(row.try_get("", "campaign_id")?),
        run: RunId::new(row.try_get("", "run_id")?),
        channel: Channel::from_word(&channel).map_err(|error| DbErr::Custom(error.to_string()))?,
        deadline_ms: row.try_get("", "deadline_at")?,
        count: row.try_get("", "count")?,
        wanted: row.try_get("", "wanted")?,
        granted: row.try_get("", "granted")?,
        version: row.try_get("", "version")?,
        accepted: row.try_get("", "accepted")?,
        closed: row.try_get("", "closed")?,
        has_job: row.try_get("", "has_job")?,
    })
}

/// Grants only rise, whatever order the answers come in.
pub(crate) async fn raise_grant(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    granted: i64,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE batches SET granted = $3 WHERE run_day = $1 AND id = $2 AND granted < $3",
        [run_day.into(), batch.uuid().into(), granted.into()],
    )
    .await
    .map(|_| ())
}

/// Keeps the whole job, whose block is sealed, for the attempts after this delivery.
pub(crate) async fn store_job(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    job: &[u8],
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE batches SET job = $3 WHERE run_day = $1 AND id = $2 AND job IS NULL AND closed = 0",
        [run_day.into(), batch.uuid().into(), job.to_vec().into()],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn accepted(
    connection: &impl Sql,
    run_day: i32,
    batch: BatchId,
) -> Result<bool, DbErr> {
    let sql = "SELECT accepted FROM batches WHERE run_day = $1 AND id = $2";
    let row = connection.row(sql, [run_day.into(), batch.uuid().into()]).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

/// The next time that a queued row must be looked at.
pub(crate) async fn refresh_due(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE batches SET next_due_at = (
             SELECT MIN(MIN(m.next_attempt_at), batches.deadline_at) FROM messages m
             WHERE m.batch_id = $2 AND m.state = 'queued')
         WHERE run_day = $1 AND id = $2",
        [run_day.into(), batch.uuid().into()],
    )
    .await
    .map(|_| ())
}

/// A batch whose rows are due.
pub(crate) struct Due {
    pub run_day: i32,
    pub batch: BatchId,
    pub waits_for_money: bool,
    pub wanted: i64,
    pub deadline_ms: i64,
}

/// Due batches of all organisations in turn, the longest overdue of each first.
pub(crate) async fn due_of_all_organisations(
    connection: &impl Sql,
    now_ms: i64,
    limit: usize,
) -> Result<Vec<Due>, DbErr> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "SELECT run_day, id, waits_for_money, wanted, deadline_at FROM (
                   SELECT run_day, id, waits_for_money, wanted, deadline_at, next_due_at,
                       ROW_NUMBER() OVER (PARTITION BY organisation_id ORDER BY next_due_at) AS turn
                   FROM batches
                   WHERE next_due_at <= $1 AND (job IS NOT NULL OR deadline_at <= $1))
               ORDER BY turn, next_due_at LIMIT $2";
    let rows = connection.rows(sql, [now_ms.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                run_day: row.try_get("", "run_day")?,
                batch: BatchId::new(row.try_get("", "id")?),
                waits_for_money: row.try_get("", "waits_for_money")?,
                wanted: row.try_get("", "wanted")?,
                deadline_ms: row.try_get("", "deadline_at")?,
            })
        })
        .collect()
}

/// The job as it was delivered; without it rows can only be settled.
pub(crate) async fn job(
    connection: &impl Sql,
    run_day: i32,
    batch: BatchId,
) -> Result<Option<Vec<u8>>, DbErr> {
    let sql = "SELECT job FROM batches WHERE run_day = $1 AND id = $2";
    let row = connection.row(sql, [run_day.into(), batch.uuid().into()]).await?;
    row.map_or(Ok(None), |row| row.try_get_by_index(0))
}

/// How often the organisation's credits were raised, as this service has heard.
pub(crate) async fn raises(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<i64, DbErr> {
    let sql = "SELECT count FROM raises WHERE organisation_id = $1";
    let row = connection.row(sql, [organisation.uuid().into()]).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Billing has credits again: batches that wait for them ask now. The count tells those whose
/// question was answered before this.
pub(crate) async fn money_arrived(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    now_ms: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO raises (organisation_id, count) VALUES ($1, 1)
         ON CONFLICT (organisation_id) DO UPDATE SET count = count + 1",
        [organisation.uuid().into()],
    )
    .await?;
    tx.run(
        "UPDATE messages SET next_attempt_at = $2
         WHERE batch_id IN (
                 SELECT id FROM batches WHERE organisation_id = $1 AND waits_for_money = 1)
             AND state = 'queued' AND reason = 'insufficient_balance' AND next_attempt_at > $2",
        [organisation.uuid().into(), now_ms.into()],
    )
    .await?;
    tx.run(
        "UPDATE batches SET next_due_at = MIN(COALESCE(next_due_at, $2), $2)
         WHERE organisation_id = $1 AND waits_for_money = 1",
        [organisation.uuid().into(), now_ms.into()],
    )
    .await
    .map(|_| ())
}
