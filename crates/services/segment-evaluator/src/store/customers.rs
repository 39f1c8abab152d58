//! Customers, found and read; their flags, set.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{audience::matched, json};
use crate::domain::filter::Selection;

/// A customer as stored: `profile` is sealed.
pub(crate) struct CustomerRow {
    pub external_id: String,
    pub id: Uuid,
    pub profile: Vec<u8>,
    pub language: String,
    pub time_zone: String,
    /// A JSON array.
    pub categories: String,
    pub points: i64,
    pub favourite: bool,
    pub consent: i32,
    pub subscribe_sms: i32,
    pub subscribe_email: i32,
    pub blacklisted: bool,
    pub joined_on: String,
    /// A JSON array.
    pub programmes: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

const COLUMNS: &str = "c.external_id, c.id, c.profile, c.language, c.time_zone, c.categories,
    c.points, c.favourite, c.consent, c.subscribe_sms, c.subscribe_email, c.blacklisted,
    c.joined_on, c.programmes, c.created_at, c.updated_at, c.version";

impl CustomerRow {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            external_id: row.try_get_by_index(0)?,
            id: row.try_get_by_index(1)?,
            profile: row.try_get_by_index(2)?,
            language: row.try_get_by_index(3)?,
            time_zone: row.try_get_by_index(4)?,
            categories: row.try_get_by_index(5)?,
            points: row.try_get_by_index(6)?,
            favourite: row.try_get_by_index(7)?,
            consent: row.try_get_by_index(8)?,
            subscribe_sms: row.try_get_by_index(9)?,
            subscribe_email: row.try_get_by_index(10)?,
            blacklisted: row.try_get_by_index(11)?,
            joined_on: row.try_get_by_index(12)?,
            programmes: row.try_get_by_index(13)?,
            created_at: row.try_get_by_index(14)?,
            updated_at: row.try_get_by_index(15)?,
            version: row.try_get_by_index(16)?,
        })
    }
}

pub(crate) async fn by_external_ids(
    connection: &impl Sql,
    organisation: OrganisationId,
    ids: &[&str],
) -> Result<Vec<CustomerRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM customers c
         WHERE c.organisation_id = $1 AND c.external_id IN (SELECT value FROM json_each($2))"
    );
    let rows = connection.rows(&sql, [organisation.uuid().into(), json(&ids)?.into()]).await?;
    rows.iter().map(CustomerRow::read).collect()
}

/// The keyed hashes by which a customer can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Phone,
    Email,
    /// First and last name, or the display name.
    Name,
}

/// Several customers may have the same phone, e-mail address or name; `limit` of them at most.
pub(crate) async fn by_lookup(
    connection: &impl Sql,
    organisation: OrganisationId,
    lookup: Lookup,
    hash: &[u8; 32],
    limit: u32,
) -> Result<Vec<CustomerRow>, DbErr> {
    let values = [organisation.uuid().into(), hash.to_vec().into(), limit.into()];
    connection.rows(&lookup.sql(), values).await?.iter().map(CustomerRow::read).collect()
}

impl Lookup {
    /// The hash's index is asked in a query of its own: the order would have the whole organisation
    /// read by external id.
    pub(super) fn sql(self) -> String {
        let matching = match self {
            Self::Phone => {
                "SELECT external_id FROM customers WHERE organisation_id = $1 AND phone_hash = $2"
            }
            Self::Email => {
                "SELECT external_id FROM customers WHERE organisation_id = $1 AND email_hash = $2"
            }
            Self::Name => {
                "SELECT external_id FROM customers WHERE organisation_id = $1 AND name_hash = $2
                 UNION SELECT external_id FROM customers
                 WHERE organisation_id = $1 AND display_name_hash = $2"
            }
        };
        format!(
            "SELECT {COLUMNS} FROM customers c
             WHERE c.organisation_id = $1 AND c.external_id IN ({matching})
             ORDER BY c.external_id LIMIT $3"
        )
    }
}

pub(crate) async fn by_card(
    connection: &impl Sql,
    organisation: OrganisationId,
    hash: &[u8; 32],
) -> Result<Vec<CustomerRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM cards k
         JOIN customers c ON c.organisation_id = k.organisation_id AND c.external_id = k.external_id
         WHERE k.organisation_id = $1 AND k.hash = $2"
    );
    let values = [organisation.uuid().into(), hash.to_vec().into()];
    connection.rows(&sql, values).await?.iter().map(CustomerRow::read).collect()
}

/// Those that match, by external id, after `after`.
pub(crate) async fn page(
    connection: &impl Sql,
    organisation: OrganisationId,
    selection: &Selection,
    after: &str,
    limit: i64,
) -> Result<Vec<CustomerRow>, DbErr> {
    let (matching, values) = matched(organisation, selection, after, limit)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM ({matching}) AS m
         JOIN customers c ON c.organisation_id = $1 AND c.external_id = m.external_id
         ORDER BY m.external_id"
    );
    connection.rows(&sql, values).await?.iter().map(CustomerRow::read).collect()
}

/// The versions of those that exist, so that a writer sees whether they changed since it read them.
pub(crate) async fn versions(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    ids: &[&str],
) -> Result<HashMap<String, i64>, DbErr> {
    let sql = "SELECT external_id, version FROM customers
               WHERE organisation_id = $1 AND external_id IN (SELECT value FROM json_each($2))";
    let rows = tx.rows(sql, [organisation.uuid().into(), json(&ids)?.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Answers whether it changed.
pub(crate) async fn set_blacklisted(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    external_id: &str,
    blacklisted: bool,
    at: i64,
) -> Result<bool, DbErr> {
    let changed = tx
        .run(
            "UPDATE customers SET blacklisted = $3, updated_at = $4, version = version + 1
             WHERE organisation_id = $1 AND external_id = $2 AND blacklisted <> $3",
            [organisation.uuid().into(), external_id.into(), blacklisted.into(), at.into()],
        )
        .await?;
    Ok(changed.rows_affected() > 0)
}

/// Sets the subscriptions of the channels named; answers how many customers changed. Who is
/// subscribed stays so when `to` is `pending`.
pub(crate) async fn set_subscription(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    ids: &[String],
    (sms, email): (bool, bool),
    to: i32,
    at: i64,
) -> Result<u64, DbErr> {
    let changed = tx
        .run(
            SET_SUBSCRIPTION,
            [
                organisation.uuid().into(),
                json(&ids)?.into(),
                sms.into(),
                email.into(),
                to.into(),
                at.into(),
            ],
        )
        .await?;
    Ok(changed.rows_affected())
}

/// A subscription in force (1) is not put back to waiting (2).
const SET_SUBSCRIPTION: &str = "
UPDATE customers SET
    subscribe_sms = CASE WHEN $3 AND NOT (subscribe_sms = 1 AND $5 = 2)
        THEN $5 ELSE subscribe_sms END,
    subscribe_email = CASE WHEN $4 AND NOT (subscribe_email = 1 AND $5 = 2)
        THEN $5 ELSE subscribe_email END,
    updated_at = $6, version = version + 1
WHERE organisation_id = $1 AND external_id IN (SELECT value FROM json_each($2))
AND (($3 AND subscribe_sms <> $5 AND NOT (subscribe_sms = 1 AND $5 = 2))
    OR ($4 AND subscribe_email <> $5 AND NOT (subscribe_email = 1 AND $5 = 2)))";
