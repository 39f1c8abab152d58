use carillon_contracts::{
    events::v1::CampaignPublished,
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

/// A campaign whose time has come, as stored.
pub(crate) struct DueSchedule {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    /// Milliseconds since 1970.
    pub next_fire_ms: i64,
    /// An encoded `CampaignPublished`.
    pub published: Vec<u8>,
}

/// Keeps a campaign's document if it is newer than the one known.
pub(crate) async fn keep_newest(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    published: &CampaignPublished,
    next_fire_ms: Option<i64>,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO schedules (campaign_id, organisation_id, version, published, next_fire_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (campaign_id) DO UPDATE SET
            version = excluded.version, published = excluded.published,
            next_fire_at = excluded.next_fire_at
         WHERE schedules.version < excluded.version
            AND schedules.organisation_id = excluded.organisation_id",
        [
            campaign.uuid().into(),
            organisation.uuid().into(),
            published.version.cast_signed().into(),
            published.encode_to_vec().into(),
            next_fire_ms.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Whether anything is due but for those left alone: a look that needs no lock.
pub(crate) async fn any_due_of_all(
    connection: &impl Sql,
    now: Timestamp,
    but: &[CampaignId],
) -> Result<bool, DbErr> {
    let sql = format!("SELECT 1 {DUE} LIMIT 1");
    let values = [now.as_millisecond().into(), list(but).into()];
    Ok(connection.row(&sql, values).await?.is_some())
}

/// What is due in all organisations but for those left alone, the longest waiting first.
pub(crate) async fn due_of_all(
    tx: &DatabaseTransaction,
    now: Timestamp,
    but: &[CampaignId],
    limit: u32,
) -> Result<Vec<DueSchedule>, DbErr> {
    let sql = format!(
        "SELECT organisation_id, campaign_id, next_fire_at, published {DUE}
         ORDER BY next_fire_at LIMIT $3"
    );
    let values = [now.as_millisecond().into(), list(but).into(), limit.into()];
    tx.rows(&sql, values)
        .await?
        .iter()
        .map(|row| {
            Ok(DueSchedule {
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                campaign: CampaignId::new(row.try_get("", "campaign_id")?),
                next_fire_ms: row.try_get("", "next_fire_at")?,
                published: row.try_get("", "published")?,
            })
        })
        .collect()
}

/// A JSON array of hexadecimal ids.
fn list(campaigns: &[CampaignId]) -> String {
    let ids: Vec<String> =
        campaigns.iter().map(|id| format!("\"{}\"", id.uuid().simple())).collect();
    format!("[{}]", ids.join(","))
}

pub(crate) async fn clear_next_fire(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
) -> Result<(), DbErr> {
    let sql = "UPDATE schedules SET next_fire_at = NULL
               WHERE campaign_id = $1 AND organisation_id = $2";
    tx.run(sql, [campaign.uuid().into(), organisation.uuid().into()]).await.map(|_| ())
}

/// A campaign of an organisation that this service has not heard of yet waits for its zone.
const DUE: &str = "FROM schedules WHERE next_fire_at <= $1
    AND campaign_id NOT IN (SELECT unhex(value) FROM json_each($2))
    AND organisation_id IN (SELECT organisation_id FROM tenants)";
