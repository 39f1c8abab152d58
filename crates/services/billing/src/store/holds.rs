use carillon_contracts::ids::{BatchId, CampaignId, OrganisationId, RunId};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use crate::domain::hold::{HoldRow, Whose};

fn read(row: &QueryResult) -> Result<HoldRow, DbErr> {
    Ok(HoldRow {
        wanted: row.try_get("", "wanted")?,
        granted: row.try_get("", "granted")?,
        returned: row.try_get("", "returned")?,
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
    let sql = "SELECT wanted, granted, returned, version, needed, posted, closed FROM holds
               WHERE organisation_id = $1 AND batch_id = $2";
    let row = tx.row(sql, [organisation.uuid().into(), batch.uuid().into()]).await?;
    row.as_ref().map(read).transpose()
}

/// The first word of its campaign and run stays.
pub(crate) async fn save_hold(
    tx: &DatabaseTransaction,
    whose: Whose,
    row: HoldRow,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO holds
            (organisation_id, batch_id, campaign_id, run_id, wanted, granted, returned, version,
             needed, posted, closed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (organisation_id, batch_id) DO UPDATE SET
            campaign_id = COALESCE(holds.campaign_id, excluded.campaign_id),
            run_id = COALESCE(holds.run_id, excluded.run_id),
            wanted = excluded.wanted, granted = excluded.granted, returned = excluded.returned,
            version = excluded.version, needed = excluded.needed, posted = excluded.posted,
            closed = excluded.closed",
        [
            whose.organisation.uuid().into(),
            whose.batch.uuid().into(),
            whose.campaign.map(CampaignId::uuid).into(),
            whose.run.map(RunId::uuid).into(),
            row.wanted.into(),
            row.granted.into(),
            row.returned.into(),
            row.version.into(),
            row.needed.into(),
            row.posted.into(),
            row.closed.into(),
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
    pub batch: Option<BatchId>,
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
    let mut only = String::new();
    let mut values = vec![organisation.uuid().into(), listing.after.into(), listing.limit.into()];
    let asked = [
        ("campaign_id", listing.campaign.map(CampaignId::uuid)),
        ("batch_id", listing.batch.map(BatchId::uuid)),
    ];
    for (column, id) in asked {
        if let Some(id) = id {
            values.push(id.into());
            only.push_str(&format!("AND {column} = ${} ", values.len()));
        }
    }
    let sql = format!(
        "SELECT wanted, granted, returned, version, needed, posted, closed, batch_id, campaign_id,
             run_id
         FROM holds WHERE organisation_id = $1 AND batch_id > $2 {closed} {only}
         ORDER BY batch_id LIMIT $3"
    );
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
