use std::collections::BTreeMap;

use carillon_contracts::{
    campaign::v1::{Organisation, SmsGateway, SmtpServer},
    events::v1::SealedSecret,
    ids::OrganisationId,
    time,
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use prost::Message;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult, Value};
use uuid::Uuid;

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
    require_consent, subscribe_default, double_opt_in, low_balance, paused, markets, rates, smtp,
    sms, created_at, told, sms_standby";

fn read(row: &QueryResult) -> Result<OrganisationRow, DbErr> {
    let id = OrganisationId::new(row.try_get("", "organisation_id")?);
    let created = Timestamp::from_millisecond(row.try_get("", "created_at")?);
    let consent: i64 = row.try_get("", "consent_default")?;
    Ok(OrganisationRow {
        id,
        version: row.try_get::<i64>("", "version")?.cast_unsigned(),
        told: row.try_get("", "told")?,
        organisation: Organisation {
            id: id.to_string(),
            name: row.try_get("", "name")?,
            time_zone: row.try_get("", "time_zone")?,
            default_region: row.try_get("", "default_region")?,
            consent_default: i32::try_from(consent).unwrap_or_default(),
            require_consent: row.try_get("", "require_consent")?,
            subscribe_default: row.try_get("", "subscribe_default")?,
            double_opt_in: row.try_get("", "double_opt_in")?,
            low_balance: row.try_get("", "low_balance")?,
            paused: row.try_get("", "paused")?,
            create_time: created.ok().map(time::to_wire),
            smtp: message::<SmtpServer>(row, "smtp")?,
            sms: message::<SmsGateway>(row, "sms")?,
            sms_standby: message::<SmsGateway>(row, "sms_standby")?,
            markets: words(&row.try_get::<String>("", "markets")?),
            rates: rates(&row.try_get::<String>("", "rates")?)?,
            replies_url: String::new(),
            in_effect: None,
            standby_replies_url: String::new(),
        },
    })
}

fn words(joined: &str) -> Vec<String> {
    joined.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rates(json: &str) -> Result<BTreeMap<String, u32>, DbErr> {
    serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
}

fn rates_json(rates: &BTreeMap<String, u32>) -> Result<String, DbErr> {
    serde_json::to_string(rates).map_err(|error| DbErr::Json(error.to_string()))
}

fn message<M: Message + Default>(row: &QueryResult, column: &str) -> Result<Option<M>, DbErr> {
    let bytes: Option<Vec<u8>> = row.try_get("", column)?;
    let decoded = bytes.map(|bytes| M::decode(bytes.as_slice())).transpose();
    decoded.map_err(|error| DbErr::Type(format!("{column}: {error}")))
}

pub(crate) async fn organisation(
    connection: &impl Sql,
    id: OrganisationId,
) -> Result<Option<OrganisationRow>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM organisations WHERE organisation_id = $1");
    connection.row(&sql, [id.uuid().into()]).await?.as_ref().map(read).transpose()
}

/// To change it: nobody else does until the transaction ends.
pub(crate) async fn locked_organisation(
    tx: &DatabaseTransaction,
    id: OrganisationId,
) -> Result<Option<OrganisationRow>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM organisations WHERE organisation_id = $1 FOR UPDATE");
    tx.row(&sql, [id.uuid().into()]).await?.as_ref().map(read).transpose()
}

/// By their ids, from just after one.
pub(crate) async fn all_organisations_after(
    connection: &impl Sql,
    after: Uuid,
    limit: i64,
) -> Result<Vec<OrganisationRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM organisations WHERE organisation_id > $1
         ORDER BY organisation_id LIMIT $2"
    );
    connection.rows(&sql, [after.into(), limit.into()]).await?.iter().map(read).collect()
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

/// Answers whether it was new: the same request may just have been carried out elsewhere.
pub(crate) async fn insert_organisation(
    tx: &DatabaseTransaction,
    row: &OrganisationRow,
    request: Option<&Request>,
    now_ms: i64,
) -> Result<bool, DbErr> {
    let settings = &row.organisation;
    let inserted = tx
        .run(
            "INSERT INTO organisations (organisation_id, version, name, time_zone, default_region,
                consent_default, require_consent, subscribe_default, double_opt_in, low_balance,
                paused, markets, rates, created_at, request_id, request_hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             ON CONFLICT (request_id) DO NOTHING",
            [
                row.id.uuid().into(),
                row.version.cast_signed().into(),
                settings.name.as_str().into(),
                settings.time_zone.as_str().into(),
                settings.default_region.as_str().into(),
                i64::from(settings.consent_default).into(),
                settings.require_consent.into(),
                settings.subscribe_default.into(),
                settings.double_opt_in.into(),
                settings.low_balance.into(),
                settings.paused.into(),
                settings.markets.join(" ").into(),
                rates_json(&settings.rates)?.into(),
                now_ms.into(),
                request.map(|request| request.id.clone()).into(),
                request.map(|request| request.body_hash.to_vec()).into(),
            ],
        )
        .await?;
    Ok(inserted.rows_affected() > 0)
}

pub(crate) async fn save_settings(
    tx: &DatabaseTransaction,
    row: &OrganisationRow,
) -> Result<(), DbErr> {
    let settings = &row.organisation;
    let smtp: Value = settings.smtp.as_ref().map(Message::encode_to_vec).into();
    let sms: Value = settings.sms.as_ref().map(Message::encode_to_vec).into();
    let sms_standby: Value = settings.sms_standby.as_ref().map(Message::encode_to_vec).into();
    tx.run(
        "UPDATE organisations SET version = $2, name = $3, time_zone = $4, default_region = $5,
            consent_default = $6, require_consent = $7, subscribe_default = $8, double_opt_in = $9,
            low_balance = $10, paused = $11, markets = $12, smtp = $13, sms = $14,
            sms_standby = $15, rates = $16
         WHERE organisation_id = $1",
        [
            row.id.uuid().into(),
            row.version.cast_signed().into(),
            settings.name.as_str().into(),
            settings.time_zone.as_str().into(),
            settings.default_region.as_str().into(),
            i64::from(settings.consent_default).into(),
            settings.require_consent.into(),
            settings.subscribe_default.into(),
            settings.double_opt_in.into(),
            settings.low_balance.into(),
            settings.paused.into(),
            settings.markets.join(" ").into(),
            smtp,
            sms,
            sms_standby,
            rates_json(&settings.rates)?.into(),
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

/// The sealed secrets by the names of their settings.
pub(crate) async fn secrets(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<BTreeMap<String, SealedSecret>, DbErr> {
    let sql = "SELECT name, key_id, wrapped_key, ciphertext FROM organisation_secrets
               WHERE organisation_id = $1 ORDER BY name";
    let rows = connection.rows(sql, [organisation.uuid().into()]).await?;
    rows.iter()
        .map(|row| {
            let secret = SealedSecret {
                key_id: row.try_get("", "key_id")?,
                wrapped_key: row.try_get::<Vec<u8>>("", "wrapped_key")?.into(),
                ciphertext: row.try_get::<Vec<u8>>("", "ciphertext")?.into(),
            };
            Ok((row.try_get("", "name")?, secret))
        })
        .collect()
}

pub(crate) async fn save_secret(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    name: &str,
    secret: &SealedSecret,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO organisation_secrets (organisation_id, name, key_id, wrapped_key, ciphertext)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (organisation_id, name) DO UPDATE SET key_id = excluded.key_id,
            wrapped_key = excluded.wrapped_key, ciphertext = excluded.ciphertext",
        [
            organisation.uuid().into(),
            name.into(),
            secret.key_id.as_str().into(),
            secret.wrapped_key.to_vec().into(),
            secret.ciphertext.to_vec().into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn drop_secret(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    name: &str,
) -> Result<(), DbErr> {
    let sql = "DELETE FROM organisation_secrets WHERE organisation_id = $1 AND name = $2";
    tx.run(sql, [organisation.uuid().into(), name.into()]).await.map(|_| ())
}
