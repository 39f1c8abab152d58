use carillon_contracts::ids::{BatchId, CampaignId, OrganisationId, RunId};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use crate::domain::hold::HoldRow;

fn read(row: &QueryResult) -> Result<HoldRow, DbErr> {
    Ok(HoldRow {
        wanted: row.try_get("", "wanted")?,
        granted: row.try_get("", "granted")?,
        version: row.try_get("", "version")?,
        needed: row.try_get("", "needed")?,
        posted: row.try_get("", "posted")?,
        closed: row.try_get("", "closed")?,
    })
}

/// Under the lock of its account.
pub(crate) async fn hold(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
) -> Result<Option<HoldRow>, DbErr> {
    let sql = "SELECT wanted, granted, version, needed, posted, closed FROM holds
               WHERE organisation_id = $1 AND batch_id = $2";
    let row = tx.row(sql, [organisation.uuid().into(), batch.uuid().into()]).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn save_hold(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
    row: HoldRow,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO holds
            (organisation_id, batch_id, wanted, granted, version, needed, posted, closed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (organisation_id, batch_id) DO UPDATE SET
            wanted = excluded.wanted, granted = excluded.granted, version = excluded.version,
            needed = excluded.needed, posted = excluded.posted, closed = excluded.closed",
        [
            organisation.uuid().into(),
            batch.uuid().into(),
            row.wanted.into(),
            row.granted.into(),
            row.version.into(),
            row.needed.into(),
            row.posted.into(),
            row.closed.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Says which campaign and run a batch belongs to, which its first totals tell.
pub(crate) async fn name_hold(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
    campaign: CampaignId,
    run: RunId,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE holds SET campaign_id = $3, run_id = $4
         WHERE organisation_id = $1 AND batch_id = $2",
        [
            organisation.uuid().into(),
            batch.uuid().into(),
            campaign.uuid().into(),
            run.uuid().into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Whether any batch of the organisation waits for credits.
pub(crate) async fn any_short(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM holds
               WHERE NOT closed AND granted < wanted AND granted < needed
               AND organisation_id = $1 LIMIT 1";
    Ok(tx.row(sql, [organisation.uuid().into()]).await?.is_some())
}

pub(crate) struct ListedHold {
    pub batch: BatchId,
    pub campaign: Option<CampaignId>,
    pub run: Option<RunId>,
    pub row: HoldRow,
}

pub(crate) struct Listing {
    pub campaign: Option<CampaignId>,
    pub include_closed: bool,
    pub after: Uuid,
    pub limit: i64,
}

/// In the order of batch ids.
pub(crate) async fn holds(
    connection: &impl Sql,
    organisation: OrganisationId,
    listing: Listing,
) -> Result<Vec<ListedHold>, DbErr> {
    let closed = if listing.include_closed { "" } else { "AND NOT closed" };
    let of_campaign = if listing.campaign.is_some() { "AND campaign_id = $4" } else { "" };
    let sql = format!(
        "SELECT wanted, granted, version, needed, posted, closed, batch_id, campaign_id, run_id
         FROM holds WHERE organisation_id = $1 AND batch_id > $2 {closed} {of_campaign}
         ORDER BY batch_id LIMIT $3"
    );
    let mut values = vec![organisation.uuid().into(), listing.after.into(), listing.limit.into()];
    values.extend(listing.campaign.map(|campaign| campaign.uuid().into()));
    let rows = connection.rows(&sql, values).await?;
    rows.iter()
        .map(|row| {
            Ok(ListedHold {
                batch: BatchId::new(row.try_get("", "batch_id")?),
                campaign: row.try_get::<Option<Uuid>>("", "campaign_id")?.map(CampaignId::new),
                run: row.try_get::<Option<Uuid>>("", "run_id")?.map(RunId::new),
                row: read(row)?,
            })
        })
        .collect()
}
