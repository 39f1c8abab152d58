use carillon_contracts::ids::{BatchId, OrganisationId};
use carillon_service_kit::database::Sql as _;
use sea_orm::{DatabaseTransaction, DbErr};

/// What billing keeps of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldRow {
    /// Of the first call; later ones do not change it.
    pub wanted: i64,
    /// Cumulative: never lowered.
    pub granted: i64,
    /// Of the newest totals heard; 0 before any.
    pub version: i64,
    pub needed: i64,
    pub posted: i64,
    pub closed: bool,
}

/// Locked, under the lock of its account.
pub(crate) async fn hold(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
) -> Result<Option<HoldRow>, DbErr> {
    let sql = "SELECT wanted, granted, version, needed, posted, closed FROM holds
               WHERE batch_id = $1 AND organisation_id = $2 FOR UPDATE";
    let Some(row) = tx.row(sql, [batch.uuid().into(), organisation.uuid().into()]).await? else {
        return Ok(None);
    };
    Ok(Some(HoldRow {
        wanted: row.try_get("", "wanted")?,
        granted: row.try_get("", "granted")?,
        version: row.try_get("", "version")?,
        needed: row.try_get("", "needed")?,
        posted: row.try_get("", "posted")?,
        closed: row.try_get("", "closed")?,
    }))
}

pub(crate) async fn save_hold(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batch: BatchId,
    row: HoldRow,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO holds
            (batch_id, organisation_id, wanted, granted, version, needed, posted, closed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (batch_id) DO UPDATE SET
            wanted = excluded.wanted, granted = excluded.granted, version = excluded.version,
            needed = excluded.needed, posted = excluded.posted, closed = excluded.closed
         WHERE holds.organisation_id = excluded.organisation_id",
        [
            batch.uuid().into(),
            organisation.uuid().into(),
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
