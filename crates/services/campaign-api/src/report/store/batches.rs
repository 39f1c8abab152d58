use carillon_contracts::{
    events::v1::Totals,
    ids::{BatchId, OrganisationId},
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{runs::RunKey, small};

/// A batch that was found within its organisation.
pub(crate) struct BatchRow {
    pub run: RunKey,
    pub number: i64,
    pub count: u32,
    /// Of the newest totals heard; 0 before any.
    pub version: u64,
}

/// A batch that was not heard of before.
pub(crate) struct NewBatch {
    pub batch: BatchId,
    pub channel: Channel,
    pub count: u32,
    pub now_ms: i64,
}

impl NewBatch {
    /// All of it is open until its totals are heard.
    pub(crate) async fn insert(
        &self,
        tx: &DatabaseTransaction,
        run: RunKey,
    ) -> Result<BatchRow, DbErr> {
        let row = tx
            .row(
                "INSERT INTO report_batches (batch_id, run, channel, count, version, open,
                    settled, waiting, units, updated_at)
                 VALUES ($1, $2, $3, $4, 0, $4, '{}', '{}', 0, $5) RETURNING number",
                [
                    self.batch.uuid().into(),
                    run.into(),
                    self.channel.word().into(),
                    self.count.into(),
                    self.now_ms.into(),
                ],
            )
            .await?
            .ok_or(DbErr::RecordNotInserted)?;
        Ok(BatchRow { run, number: row.try_get("", "number")?, count: self.count, version: 0 })
    }
}

pub(crate) async fn batch(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
) -> Result<Option<BatchRow>, DbErr> {
    let sql = "SELECT b.number, b.run, b.count, b.version
               FROM report_batches b JOIN report_runs r ON r.number = b.run
               WHERE b.batch_id = $1 AND r.organisation_id = $2";
    let row = tx.row(sql, [batch.uuid().into(), organisation.uuid().into()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(BatchRow {
        run: RunKey::read(&row, "run")?,
        number: row.try_get("", "number")?,
        count: small(&row, "count")?,
        version: row.try_get::<i64>("", "version")?.cast_unsigned(),
    }))
}

pub(crate) async fn set_recipients(
    tx: &DatabaseTransaction,
    batch: &BatchRow,
    customer_ids: &[u8],
) -> Result<(), DbErr> {
    let sql = "INSERT INTO report_recipients (batch, customer_ids) VALUES ($1, $2)
               ON CONFLICT DO NOTHING";
    tx.run(sql, [batch.number.into(), customer_ids.to_vec().into()]).await.map(|_| ())
}

/// The caller has seen that these totals are newer.
pub(crate) async fn save_totals(
    tx: &DatabaseTransaction,
    batch: &BatchRow,
    totals: &Totals,
    open: u32,
    now_ms: i64,
) -> Result<(), DbErr> {
    let json = |words| serde_json::to_string(words).map_err(|error| DbErr::Json(error.to_string()));
    tx.run(
        "UPDATE report_batches SET version = $2, open = $3, settled = $4, waiting = $5,
            units = $6, updated_at = $7, parts = $8
         WHERE number = $1",
        [
            batch.number.into(),
            totals.version.cast_signed().into(),
            open.into(),
            json(&totals.settled)?.into(),
            json(&totals.waiting)?.into(),
            totals.posted_units.cast_signed().into(),
            now_ms.into(),
            totals.posted_parts.map(u64::cast_signed).into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn any_open(tx: &DatabaseTransaction, run: RunKey) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM report_batches WHERE run = $1 AND open > 0 LIMIT 1";
    Ok(tx.row(sql, [run.into()]).await?.is_some())
}

/// A batch as the list of messages shows it.
pub(crate) struct ListedBatch {
    pub number: i64,
    pub batch: BatchId,
    pub channel: String,
    pub count: u32,
    /// `None` while only its totals were heard.
    pub customer_ids: Option<Vec<u8>>,
}

/// By channel and number, from a place on; or one of them alone.
pub(crate) async fn batches_from(
    connection: &impl Sql,
    run: RunKey,
    only: Option<BatchId>,
    (channel, number): (&str, i64),
    limit: usize,
) -> Result<Vec<ListedBatch>, DbErr> {
    let that = if only.is_some() { "AND b.batch_id = $5" } else { "" };
    let sql = format!(
        "SELECT b.number, b.batch_id, b.channel, b.count, r.customer_ids
         FROM report_batches b LEFT JOIN report_recipients r ON r.batch = b.number
         WHERE b.run = $1 AND (b.channel, b.number) >= ($2, $3) {that}
         ORDER BY b.channel, b.number LIMIT $4"
    );
    let mut values = vec![
        run.into(),
        channel.into(),
        number.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    values.extend(only.map(|batch| batch.uuid().into()));
    let rows = connection.rows(&sql, values).await?;
    rows.iter()
        .map(|row| {
            Ok(ListedBatch {
                number: row.try_get("", "number")?,
                batch: BatchId::new(row.try_get("", "batch_id")?),
                channel: row.try_get("", "channel")?,
                count: small(row, "count")?,
                customer_ids: row.try_get("", "customer_ids")?,
            })
        })
        .collect()
}
