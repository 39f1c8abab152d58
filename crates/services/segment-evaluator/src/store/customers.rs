//! Customers, found and read.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{audience::matched, json, listed::listed, narrow};
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

macro_rules! columns {
    () => {
        "c.external_id, c.id, c.profile, c.language, c.time_zone, c.categories,
    c.points, c.favourite, c.consent, c.subscribe_sms, c.subscribe_email, c.blacklisted,
    c.joined_on, c.programmes, c.created_at, c.updated_at, c.version"
    };
}

const COLUMNS: &str = columns!();

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
            consent: narrow(row, 8)?,
            subscribe_sms: narrow(row, 9)?,
            subscribe_email: narrow(row, 10)?,
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
    let values = [organisation.uuid().into(), json(&ids)?.into()];
    let rows = connection.rows(BY_EXTERNAL_IDS, values).await?;
    rows.iter().map(CustomerRow::read).collect()
}

const BY_EXTERNAL_IDS: Text = listed!(
    concat!(
        "SELECT ",
        columns!(),
        " FROM customers c WHERE c.organisation_id = $1 AND c.external_id"
    ),
    texts "$2",
    ""
);

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
    let values = [organisation.uuid().into(), hash.to_vec().into(), i64::from(limit).into()];
    let [sqlite, postgres] = lookup.sql();
    let rows = connection.rows(differs(&sqlite, &postgres), values).await?;
    rows.iter().map(CustomerRow::read).collect()
}

impl Lookup {
    /// The hash's index is asked in a query of its own: the order would have the whole organisation
    /// read by external id.
    pub(super) fn sql(self) -> [String; 2] {
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
        let found = [format!("IN ({matching})"), format!("= ANY(ARRAY({matching}))")];
        found.map(|found| {
            format!(
                "SELECT {COLUMNS} FROM customers c
                 WHERE c.organisation_id = $1 AND c.external_id {found}
                 ORDER BY c.external_id LIMIT $3"
            )
        })
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
    let sql = |matching: &str| {
        format!(
            "SELECT {COLUMNS} FROM ({matching}) AS m
             JOIN customers c ON c.organisation_id = $1 AND c.external_id = m.external_id
             ORDER BY m.external_id"
        )
    };
    let (sqlite, postgres) = (sql(matching.sqlite()), sql(matching.postgres()));
    let rows = connection.rows(differs(&sqlite, &postgres), values).await?;
    rows.iter().map(CustomerRow::read).collect()
}

/// The versions of those that exist, so that a writer sees whether they changed since it read them.
/// Until the transaction ends nobody else changes them.
pub(crate) async fn versions(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    ids: &[&str],
) -> Result<HashMap<String, i64>, DbErr> {
    let rows = tx.rows(VERSIONS, [organisation.uuid().into(), json(&ids)?.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

const VERSIONS: Text = listed!(
    "SELECT external_id, version FROM customers
     WHERE organisation_id = $1 AND external_id", texts "$2", "
     ORDER BY external_id FOR UPDATE"
);
