use carillon_contracts::{campaign::v1::Organisation, ids::OrganisationId, time};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};

use crate::request::Request;

/// An organisation and the version of its document.
pub(crate) struct OrganisationRow {
    pub id: OrganisationId,
    pub organisation: Organisation,
    pub version: u64,
    /// The event that told of this version, once there is one.
    pub told: Option<i64>,
}

const COLUMNS: &str = "organisation_id, version, name, time_zone, default_region, consent_default,
    require_consent, subscribe_default, double_opt_in, created_at, told";

fn read(row: &QueryResult) -> Result<OrganisationRow, DbErr> {
    let id = OrganisationId::new(row.try_get("", "organisation_id")?);
    let created = Timestamp::from_millisecond(row.try_get("", "created_at")?);
    Ok(OrganisationRow {
        id,
        version: row.try_get::<i64>("", "version")?.cast_unsigned(),
        told: row.try_get("", "told")?,
        organisation: Organisation {
            id: id.to_string(),
            name: row.try_get("", "name")?,
            time_zone: row.try_get("", "time_zone")?,
            default_region: row.try_get("", "default_region")?,
            consent_default: row.try_get("", "consent_default")?,
            require_consent: row.try_get("", "require_consent")?,
            subscribe_default: row.try_get("", "subscribe_default")?,
            double_opt_in: row.try_get("", "double_opt_in")?,
            create_time: created.ok().map(time::to_wire),
            ..Organisation::default()
        },
    })
}

pub(crate) async fn organisation(
    connection: &impl Sql,
    id: OrganisationId,
) -> Result<Option<OrganisationRow>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM organisations WHERE organisation_id = $1");
    connection.row(&sql, [id.uuid().into()]).await?.as_ref().map(read).transpose()
}

/// The organisation that a request of the platform's created, and the hash of its body.
pub(crate) async fn organisation_by_request_of_platform(
    connection: &impl Sql,
    request_id: &str,
) -> Result<Option<(OrganisationRow, Vec<u8>)>, DbErr> {
    let sql = format!("SELECT {COLUMNS}, request_hash FROM organisations WHERE request_id = $1");
    let Some(row) = connection.row(&sql, [request_id.into()]).await? else { return Ok(None) };
    Ok(Some((read(&row)?, row.try_get("", "request_hash")?)))
}

pub(crate) async fn insert_organisation(
    tx: &DatabaseTransaction,
    row: &OrganisationRow,
    request: Option<&Request>,
    now_ms: i64,
) -> Result<(), DbErr> {
    let settings = &row.organisation;
    tx.run(
        "INSERT INTO organisations (organisation_id, version, name, time_zone, default_region,
            consent_default, require_consent, subscribe_default, double_opt_in, created_at,
            request_id, request_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        [
            row.id.uuid().into(),
            row.version.cast_signed().into(),
            settings.name.as_str().into(),
            settings.time_zone.as_str().into(),
            settings.default_region.as_str().into(),
            settings.consent_default.into(),
            settings.require_consent.into(),
            settings.subscribe_default.into(),
            settings.double_opt_in.into(),
            now_ms.into(),
            request.map(|request| request.id.clone()).into(),
            request.map(|request| request.body_hash.to_vec()).into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn save_settings(
    tx: &DatabaseTransaction,
    row: &OrganisationRow,
) -> Result<(), DbErr> {
    let settings = &row.organisation;
    tx.run(
        "UPDATE organisations SET version = $2, name = $3, time_zone = $4, default_region = $5,
            consent_default = $6, require_consent = $7, subscribe_default = $8, double_opt_in = $9
         WHERE organisation_id = $1",
        [
            row.id.uuid().into(),
            row.version.cast_signed().into(),
            settings.name.as_str().into(),
            settings.time_zone.as_str().into(),
            settings.default_region.as_str().into(),
            settings.consent_default.into(),
            settings.require_consent.into(),
            settings.subscribe_default.into(),
            settings.double_opt_in.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Keeps which event told of the organisation as it now stands.
pub(crate) async fn set_told(
    tx: &DatabaseTransaction,
    id: OrganisationId,
    told: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE organisations SET told = $2 WHERE organisation_id = $1";
    tx.run(sql, [id.uuid().into(), told.into()]).await.map(|_| ())
}

pub(crate) async fn insert_key(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    hash: [u8; 32],
    label: &str,
    now_ms: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO api_keys (hash, organisation_id, label, created_at) VALUES ($1, $2, $3, $4)",
        [hash.to_vec().into(), organisation.uuid().into(), label.into(), now_ms.into()],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn key_hashes(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<Vec<Vec<u8>>, DbErr> {
    let sql = "SELECT hash FROM api_keys WHERE organisation_id = $1 ORDER BY hash";
    let rows = tx.rows(sql, [organisation.uuid().into()]).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
