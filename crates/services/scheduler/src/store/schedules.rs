use carillon_contracts::{
    events::v1::CampaignPublished,
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::database::{Sql, differs};
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

/// A campaign whose time has come, as stored.
pub(crate) struct DueSchedule {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    /// When somebody last resumed it, in milliseconds since 1970.
    pub resumed_ms: Option<i64>,
    /// An encoded `CampaignPublished`.
    pub published: Vec<u8>,
    /// Of the trace in which it was published.
    pub traceparent: String,
}

/// Keeps a campaign's document if it is newer than the one known.
pub(crate) async fn keep_newest(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    published: &CampaignPublished,
    traceparent: String,
    next_fire_ms: Option<i64>,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO schedules
            (campaign_id, organisation_id, version, published, next_fire_at, traceparent)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (campaign_id) DO UPDATE SET
            version = excluded.version, published = excluded.published,
            next_fire_at = excluded.next_fire_at, traceparent = excluded.traceparent
         WHERE schedules.version < excluded.version
            AND schedules.organisation_id = excluded.organisation_id",
        [
            campaign.uuid().into(),
            organisation.uuid().into(),
            published.version.cast_signed().into(),
            published.encode_to_vec().into(),
            next_fire_ms.into(),
            traceparent.into(),
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
    let sql = |due| format!("SELECT 1 {due} LIMIT 1");
    let (sqlite, postgres) = (sql(DUE_SQLITE), sql(DUE_POSTGRES));
    let values = [now.as_millisecond().into(), list(but).into()];
    Ok(connection.row(differs(&sqlite, &postgres), values).await?.is_some())
}

/// What is due in all organisations but for those left alone, the longest waiting first. They are
/// this transaction's alone; those that another replica has are left to it.
pub(crate) async fn due_of_all(
    tx: &DatabaseTransaction,
    now: Timestamp,
    but: &[CampaignId],
    limit: i64,
) -> Result<Vec<DueSchedule>, DbErr> {
    let columns = "SELECT organisation_id, campaign_id, resumed_at, published, traceparent";
    let sql =
        |due| format!("{columns} {due} ORDER BY next_fire_at LIMIT $3 FOR UPDATE SKIP LOCKED");
    let (sqlite, postgres) = (sql(DUE_SQLITE), sql(DUE_POSTGRES));
    let values = [now.as_millisecond().into(), list(but).into(), limit.into()];
    tx.rows(differs(&sqlite, &postgres), values)
        .await?
        .iter()
        .map(|row| {
            Ok(DueSchedule {
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                campaign: CampaignId::new(row.try_get("", "campaign_id")?),
                resumed_ms: row.try_get("", "resumed_at")?,
                published: row.try_get("", "published")?,
                traceparent: row.try_get("", "traceparent")?,
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

/// When to look at the campaign next; never where nothing more will be due.
pub(crate) async fn set_next_fire(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    at_ms: Option<i64>,
) -> Result<(), DbErr> {
    let sql = "UPDATE schedules SET next_fire_at = $3
               WHERE campaign_id = $1 AND organisation_id = $2";
    let values = [campaign.uuid().into(), organisation.uuid().into(), at_ms.into()];
    tx.run(sql, values).await.map(|_| ())
}

/// The organisation's zone may be another one now: what it has waiting is looked at again.
pub(crate) async fn look_again(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    now: Timestamp,
) -> Result<(), DbErr> {
    let sql = "UPDATE schedules SET next_fire_at = $2
               WHERE organisation_id = $1 AND next_fire_at > $2";
    let values = [organisation.uuid().into(), now.as_millisecond().into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Keeps what was last ordered, if it is newer than what is known. Whoever fires the campaign at
/// the same time has its row, and is waited for.
pub(crate) async fn keep_newest_halt(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    order: &HaltOrder,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO schedules (campaign_id, organisation_id, halt, halt_version, resumed_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (campaign_id) DO UPDATE SET
            halt = excluded.halt, halt_version = excluded.halt_version,
            resumed_at = excluded.resumed_at
         WHERE schedules.halt_version < excluded.halt_version
            AND schedules.organisation_id = excluded.organisation_id",
        [
            campaign.uuid().into(),
            organisation.uuid().into(),
            order.word.into(),
            order.version.into(),
            order.resumed_ms.into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) struct HaltOrder {
    /// `running`, `paused` or `cancelled`.
    pub word: &'static str,
    pub version: i64,
    pub resumed_ms: Option<i64>,
}

/// A campaign of an organisation that this service has not heard of yet waits for its zone.
const DUE_SQLITE: &str = "FROM schedules WHERE next_fire_at <= $1 AND halt = 'running'
    AND campaign_id NOT IN (SELECT unhex(value) FROM json_each($2))
    AND organisation_id IN (SELECT organisation_id FROM tenants)";

const DUE_POSTGRES: &str = "FROM schedules WHERE next_fire_at <= $1 AND halt = 'running'
    AND campaign_id NOT IN (SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb))
    AND organisation_id IN (SELECT organisation_id FROM tenants)";
