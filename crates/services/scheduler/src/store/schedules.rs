use carillon_contracts::{
    events::v1::CampaignPublished,
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

/// A campaign whose time has come.
pub(crate) struct DueSchedule {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub nominal: Timestamp,
    pub published: CampaignPublished,
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

/// Whether anything is due: a look that needs no lock.
pub(crate) async fn any_due_of_all(connection: &impl Sql, now: Timestamp) -> Result<bool, DbErr> {
    let sql = format!("SELECT 1 {DUE} LIMIT 1");
    Ok(connection.row(&sql, [now.as_millisecond().into()]).await?.is_some())
}

/// What is due in all organisations, the longest waiting first.
pub(crate) async fn due_of_all(
    tx: &DatabaseTransaction,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<DueSchedule>, DbErr> {
    let sql = format!(
        "SELECT organisation_id, campaign_id, next_fire_at, published {DUE}
         ORDER BY next_fire_at LIMIT $2"
    );
    let rows = tx.rows(&sql, [now.as_millisecond().into(), limit.into()]).await?;
    let wrong = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
    rows.iter()
        .map(|row| {
            let published: Vec<u8> = row.try_get("", "published")?;
            let nominal = Timestamp::from_millisecond(row.try_get("", "next_fire_at")?);
            Ok(DueSchedule {
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                campaign: CampaignId::new(row.try_get("", "campaign_id")?),
                nominal: nominal.map_err(|error| wrong(&error))?,
                published: CampaignPublished::decode(published.as_slice())
                    .map_err(|error| wrong(&error))?,
            })
        })
        .collect()
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
    AND organisation_id IN (SELECT organisation_id FROM tenants)";
