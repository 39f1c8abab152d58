//! The rows of batches.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{
    events::v1::Halt,
    ids::{BatchId, CampaignId, OrganisationId, RunId},
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::database::{Sql, differs, list};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use serde_json::{Value as Json, json};

use super::{Key, halts, u32_of};
use crate::open::Header;

/// What a step needs of a batch.
#[derive(Debug, Clone)]
pub(crate) struct BatchRow {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub run: RunId,
    pub channel: Channel,
    pub deadline_ms: i64,
    pub count: u32,
    pub wanted: i64,
    /// Cumulative, as billing answered.
    pub granted: i64,
    /// Cumulative: what of it was given back.
    pub returned: i64,
    /// How often the organisation's credits had been raised when billing was last asked.
    pub asked_raises: i64,
    pub version: i64,
    pub accepted: bool,
    pub closed: bool,
    pub has_job: bool,
    /// What somebody decided about its campaign; certain under `fence` alone.
    pub halt: Halt,
    /// Of its first delivery.
    pub traceparent: String,
}

impl BatchRow {
    /// What may be spent in all.
    pub(crate) fn spendable(&self) -> i64 {
        self.granted - self.returned
    }
}

/// Writes down batches that nobody wrote down yet, in one order.
pub(crate) async fn insert_missing(
    tx: &DatabaseTransaction,
    headers: &[(&Header, i64)],
) -> Result<(), DbErr> {
    let mut rows: BTreeMap<Key, (&Header, i64)> = BTreeMap::new();
    for (header, wanted) in headers {
        let row = rows.entry((header.run_day, header.batch)).or_insert((header, *wanted));
        row.1 = row.1.max(*wanted);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Json> = rows
        .into_values()
        .map(|(header, wanted)| {
            json!([
                header.run_day,
                header.batch.uuid().simple().to_string(),
                header.organisation.uuid().simple().to_string(),
                header.campaign.uuid().simple().to_string(),
                header.run.uuid().simple().to_string(),
                header.channel.word(),
                header.deadline.as_millisecond(),
                header.count(),
                wanted,
                header.traceparent,
            ])
        })
        .collect();
    let sql = differs(
        "INSERT INTO batches (run_day, id, organisation_id, campaign_id, run_id, channel,
             deadline_at, count, wanted, traceparent)
         SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3),
             unhex(value ->> 4), value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9
         FROM json_each($1) WHERE true
         ON CONFLICT (run_day, id) DO NOTHING",
        "INSERT INTO batches (run_day, id, organisation_id, campaign_id, run_id, channel,
             deadline_at, count, wanted, traceparent)
         SELECT (value ->> 0)::bigint, (value ->> 1)::uuid, (value ->> 2)::uuid,
             (value ->> 3)::uuid, (value ->> 4)::uuid, value ->> 5, (value ->> 6)::bigint,
             (value ->> 7)::bigint, (value ->> 8)::bigint, value ->> 9
         FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS given(value, turn) ORDER BY turn
         ON CONFLICT (run_day, id) DO NOTHING",
    );
    tx.run(sql, [Json::Array(rows).to_string().into()]).await.map(|_| ())
}

/// A batch that was settled unsent in part asked for less before. Its row is locked.
pub(crate) async fn raise_wanted(
    tx: &DatabaseTransaction,
    header: &Header,
    wanted: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE batches SET wanted = $3 WHERE run_day = $1 AND id = $2 AND wanted < $3";
    let values = [header.run_day.into(), header.batch.uuid().into(), wanted.into()];
    tx.run(sql, values).await.map(|_| ())
}

macro_rules! read_batches {
    () => {
        "SELECT b.id, b.organisation_id, b.campaign_id, b.run_id, b.channel, b.deadline_at,
             b.count, b.wanted, b.granted, b.returned, b.asked_raises, b.version, b.accepted, b.closed,
             b.job IS NOT NULL AS has_job, b.traceparent, COALESCE(h.halt, 'running') AS halt
         FROM batches b LEFT JOIN halts h ON h.campaign_id = b.campaign_id "
    };
}

/// Locks the batches, in one order, and reads them as they are then.
pub(crate) async fn lock(
    tx: &DatabaseTransaction,
    run_day: i32,
    batches: &BTreeSet<BatchId>,
) -> Result<BTreeMap<Key, BatchRow>, DbErr> {
    let sql = differs(
        concat!(
            read_batches!(),
            "WHERE b.run_day = $1 AND b.id IN (SELECT unhex(value) FROM json_each($2))"
        ),
        concat!(
            read_batches!(),
            "WHERE b.run_day = $1 AND b.id = ANY(ARRAY(
                 SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb) AS given(value)))
             ORDER BY b.id FOR UPDATE OF b"
        ),
    );
    let rows = tx
        .rows(sql, [run_day.into(), list::ids(batches.iter().map(|batch| batch.uuid())).into()])
        .await?;
    rows.iter()
        .map(|row| {
            let id = BatchId::new(row.try_get("", "id")?);
            Ok(((run_day, id), of_row(row)?))
        })
        .collect()
}

fn of_row(row: &QueryResult) -> Result<BatchRow, DbErr> {
    let channel: String = row.try_get("", "channel")?;
    let halt: String = row.try_get("", "halt")?;
    Ok(BatchRow {
        organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
        campaign: CampaignId::new(row.try_get("", "campaign_id")?),
        run: RunId::new(row.try_get("", "run_id")?),
        channel: Channel::from_word(&channel).map_err(|error| DbErr::Custom(error.to_string()))?,
        deadline_ms: row.try_get("", "deadline_at")?,
        count: u32_of(row, "count")?,
        wanted: row.try_get("", "wanted")?,
        granted: row.try_get("", "granted")?,
        returned: row.try_get("", "returned")?,
        asked_raises: row.try_get("", "asked_raises")?,
        version: row.try_get("", "version")?,
        accepted: row.try_get("", "accepted")?,
        closed: row.try_get("", "closed")?,
        has_job: row.try_get("", "has_job")?,
        halt: halts::of_word(&halt),
        traceparent: row.try_get("", "traceparent")?,
    })
}

/// Keeps the whole job, whose block is sealed, for the attempts after this delivery.
pub(crate) async fn store_job(
    tx: &DatabaseTransaction,
    run_day: i32,
    batch: BatchId,
    job: &[u8],
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE batches SET job = $3
         WHERE run_day = $1 AND id = $2 AND job IS NULL AND NOT closed",
        [run_day.into(), batch.uuid().into(), job.to_vec().into()],
    )
    .await
    .map(|_| ())
}

/// `None` while nobody has written the batch down: then it has no messages either.
pub(crate) async fn accepted(
    connection: &impl Sql,
    run_day: i32,
    batch: BatchId,
) -> Result<Option<bool>, DbErr> {
    let sql = "SELECT accepted FROM batches WHERE run_day = $1 AND id = $2";
    let row = connection.row(sql, [run_day.into(), batch.uuid().into()]).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

/// A batch whose rows are due.
pub(crate) struct Due {
    pub run_day: i32,
    pub batch: BatchId,
    pub organisation: OrganisationId,
    pub waits_for_money: bool,
    pub wanted: i64,
    /// What may be spent in all.
    pub spendable: i64,
    pub deadline_ms: i64,
    /// Of its first delivery.
    pub traceparent: String,
}

impl Due {
    /// Whether billing may have something to grant.
    pub(crate) fn is_short(&self) -> bool {
        self.waits_for_money || self.spendable < self.wanted
    }
}

/// Due batches of all organisations in turn, the longest overdue of each first. Those that wait
/// for money are due, too, once credits were raised after billing was asked for them; of these
/// the earliest deadline comes first.
pub(crate) async fn due_of_all_organisations(
    connection: &impl Sql,
    now_ms: i64,
    limit: usize,
) -> Result<Vec<Due>, DbErr> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "SELECT run_day, id, organisation_id, waits_for_money, wanted, spendable,
                   deadline_at, traceparent
               FROM (
                   SELECT due.*, ROW_NUMBER() OVER (
                       PARTITION BY organisation_id ORDER BY due_at, deadline_at) AS turn
                   FROM (
                       SELECT run_day, id, organisation_id, waits_for_money, wanted,
                           granted - returned AS spendable, deadline_at, traceparent,
                           next_due_at AS due_at
                       FROM batches
                       WHERE next_due_at <= $1 AND (job IS NOT NULL OR deadline_at <= $1)
                       UNION ALL
                       SELECT b.run_day, b.id, b.organisation_id, b.waits_for_money, b.wanted,
                           b.granted - b.returned AS spendable, b.deadline_at, b.traceparent,
                           $1 AS due_at
                       FROM raises r JOIN batches b ON b.organisation_id = r.organisation_id
                       WHERE b.waits_for_money AND b.asked_raises < r.count
                           AND b.next_due_at > $1 AND b.job IS NOT NULL
                   ) AS due
               ) AS turns
               ORDER BY turn, due_at, deadline_at LIMIT $2";
    let rows = connection.rows(sql, [now_ms.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                run_day: super::day_of(row)?,
                batch: BatchId::new(row.try_get("", "id")?),
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                waits_for_money: row.try_get("", "waits_for_money")?,
                wanted: row.try_get("", "wanted")?,
                spendable: row.try_get("", "spendable")?,
                deadline_ms: row.try_get("", "deadline_at")?,
                traceparent: row.try_get("", "traceparent")?,
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

/// Billing has credits again: batches that were asked for before this, and wait, are due.
pub(crate) async fn money_arrived(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO raises (organisation_id, count) VALUES ($1, 1)
         ON CONFLICT (organisation_id) DO UPDATE SET count = raises.count + 1",
        [organisation.uuid().into()],
    )
    .await
    .map(|_| ())
}

/// What follows from a batch's rows.
pub(crate) struct Settling {
    pub batch: BatchId,
    pub version: i64,
    pub accepted: bool,
    pub closed: bool,
    pub next_due_ms: Option<i64>,
    pub waits_for_money: bool,
    pub granted: i64,
    pub returned: i64,
    pub asked_raises: i64,
}

/// A closed batch drops its job. Grants only rise, whatever order the answers come in.
pub(crate) async fn settle(
    tx: &DatabaseTransaction,
    run_day: i32,
    settling: &[Settling],
) -> Result<(), DbErr> {
    let rows: Vec<Json> = settling
        .iter()
        .map(|row| {
            json!([
                row.batch.uuid().simple().to_string(),
                row.version,
                row.accepted,
                row.closed,
                row.next_due_ms,
                row.waits_for_money,
                row.granted,
                row.asked_raises,
                row.returned,
            ])
        })
        .collect();
    let sql = differs(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS id, value ->> 1 AS version, value ->> 2 AS accepted,
                 value ->> 3 AS closed, value ->> 4 AS next_due_at,
                 value ->> 5 AS waits_for_money, value ->> 6 AS granted,
                 value ->> 7 AS asked_raises, value ->> 8 AS returned
             FROM json_each($2)
         )
         UPDATE batches SET version = given.version, accepted = given.accepted,
             closed = given.closed, next_due_at = given.next_due_at,
             waits_for_money = given.waits_for_money, granted = given.granted,
             asked_raises = given.asked_raises, returned = given.returned,
             job = CASE WHEN given.closed THEN NULL ELSE batches.job END
         FROM given WHERE batches.run_day = $1 AND batches.id = given.id",
        "WITH given AS MATERIALIZED (
             SELECT (value ->> 0)::uuid AS id, (value ->> 1)::bigint AS version,
                 (value ->> 2)::boolean AS accepted, (value ->> 3)::boolean AS closed,
                 (value ->> 4)::bigint AS next_due_at, (value ->> 5)::boolean AS waits_for_money,
                 (value ->> 6)::bigint AS granted, (value ->> 7)::bigint AS asked_raises,
                 (value ->> 8)::bigint AS returned
             FROM jsonb_array_elements($2::jsonb) AS given(value)
         )
         UPDATE batches SET version = given.version, accepted = given.accepted,
             closed = given.closed, next_due_at = given.next_due_at,
             waits_for_money = given.waits_for_money, granted = given.granted,
             asked_raises = given.asked_raises, returned = given.returned,
             job = CASE WHEN given.closed THEN NULL ELSE batches.job END
         FROM given WHERE batches.run_day = $1 AND batches.id = given.id",
    );
    tx.run(sql, [run_day.into(), Json::Array(rows).to_string().into()]).await.map(|_| ())
}
