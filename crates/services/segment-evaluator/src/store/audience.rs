//! Reading an audience in the order of external ids, page after page, so that memory does not grow
//! with it.

use carillon_contracts::ids::{CustomerId, OrganisationId};
use carillon_service_kit::database::{Sql, Text, differs, same};
use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;

use super::{json, listed::listed, narrow};
use crate::{
    domain::filter::{Selection, next_of},
    hex,
};

/// The external ids that match, after `after`, and the parameters; `$1` is the organisation.
pub(super) fn matched(
    organisation: OrganisationId,
    selection: &Selection,
    after: &str,
    limit: i64,
) -> Result<(Text<'static>, Vec<Value>), DbErr> {
    let organisation = Value::from(organisation.uuid());
    Ok(match selection {
        Selection::Everyone => (
            same(
                "SELECT external_id FROM customers WHERE organisation_id = $1 AND external_id > $2
                 ORDER BY external_id LIMIT $3",
            ),
            vec![organisation, after.into(), limit.into()],
        ),
        Selection::Category(category) => (
            same(
                "SELECT external_id FROM customer_categories
                 WHERE organisation_id = $1 AND category = $4 AND external_id > $2
                 ORDER BY external_id LIMIT $3",
            ),
            vec![organisation, after.into(), limit.into(), category.as_str().into()],
        ),
        // The list is sorted and cut here: the table is asked for one page of it only.
        Selection::Customers(list) => {
            let ids = next_of(list, after, usize::try_from(limit).unwrap_or(usize::MAX));
            (
                listed!(
                    "SELECT external_id FROM customers WHERE organisation_id = $1
                     AND external_id", texts "$2", " ORDER BY external_id"
                ),
                vec![organisation, json(&ids)?.into()],
            )
        }
    })
}

pub(crate) async fn count(
    connection: &impl Sql,
    organisation: OrganisationId,
    selection: &Selection,
) -> Result<u64, DbErr> {
    let organisation = Value::from(organisation.uuid());
    let row = match selection {
        Selection::Everyone => {
            let sql = "SELECT COUNT(*) FROM customers WHERE organisation_id = $1";
            connection.row(sql, [organisation]).await?
        }
        Selection::Category(category) => {
            let sql = "SELECT COUNT(*) FROM customer_categories
                       WHERE organisation_id = $1 AND category = $2";
            connection.row(sql, [organisation, category.as_str().into()]).await?
        }
        Selection::Customers(ids) => {
            let sql = listed!(
                "SELECT COUNT(*) FROM customers WHERE organisation_id = $1
                 AND external_id", texts "$2", ""
            );
            connection.row(sql, [organisation, json(ids)?.into()]).await?
        }
    };
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(count.cast_unsigned())
}

/// Those of the external ids that exist.
pub(crate) async fn external_ids(
    connection: &impl Sql,
    organisation: OrganisationId,
    ids: &[String],
) -> Result<Vec<String>, DbErr> {
    let sql = listed!(
        "SELECT external_id FROM customers WHERE organisation_id = $1
         AND external_id", texts "$2", ""
    );
    let rows = connection.rows(sql, [organisation.uuid().into(), json(&ids)?.into()]).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The external ids that match, page by page.
pub(crate) async fn matched_ids(
    connection: &impl Sql,
    organisation: OrganisationId,
    selection: &Selection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbErr> {
    let (sql, values) = matched(organisation, selection, after, limit)?;
    let rows = connection.rows(sql, values).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The external ids of customers of the organisation; unknown ones are left out.
pub(crate) async fn resolve(
    connection: &impl Sql,
    organisation: OrganisationId,
    ids: &[CustomerId],
) -> Result<Vec<(Uuid, String)>, DbErr> {
    let sql = listed!(
        "SELECT id, external_id FROM customers WHERE organisation_id = $1
         AND id", ids "$2", ""
    );
    let ids: Vec<String> = ids.iter().map(|id| hex::encode(id.uuid().as_bytes())).collect();
    let rows = connection.rows(sql, [organisation.uuid().into(), json(&ids)?.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// What a plan reads of a customer; `profile` is sealed.
pub(crate) struct CandidateRow {
    pub external_id: String,
    pub id: Uuid,
    pub profile: Vec<u8>,
    pub language: String,
    pub points: i64,
    pub consent: i32,
    pub blacklisted: bool,
    pub subscribe_sms: i32,
    pub subscribe_email: i32,
    pub phone_hash: Option<Vec<u8>>,
    pub email_hash: Option<Vec<u8>>,
    /// How many customers have the same phone, and the same e-mail address.
    pub phone_uses: i64,
    pub email_uses: i64,
}

impl CandidateRow {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            external_id: row.try_get_by_index(0)?,
            id: row.try_get_by_index(1)?,
            profile: row.try_get_by_index(2)?,
            language: row.try_get_by_index(3)?,
            points: row.try_get_by_index(4)?,
            consent: narrow(row, 5)?,
            blacklisted: row.try_get_by_index(6)?,
            subscribe_sms: narrow(row, 7)?,
            subscribe_email: narrow(row, 8)?,
            phone_hash: row.try_get_by_index(9)?,
            email_hash: row.try_get_by_index(10)?,
            phone_uses: row.try_get_by_index(11)?,
            email_uses: row.try_get_by_index(12)?,
        })
    }
}

/// The next customers that match, by external id.
pub(crate) async fn candidates(
    connection: &impl Sql,
    organisation: OrganisationId,
    selection: &Selection,
    after: &str,
    limit: i64,
) -> Result<Vec<CandidateRow>, DbErr> {
    let (matching, values) = matched(organisation, selection, after, limit)?;
    // The uses of addresses are asked for one by one: joined, they would be walked for each customer
    // by a database that knows nothing yet of their number.
    let sql = |matching: &str| {
        format!(
            "SELECT c.external_id, c.id, c.profile, c.language, c.points, c.consent,
                c.blacklisted, c.subscribe_sms, c.subscribe_email, c.phone_hash, c.email_hash,
                COALESCE((SELECT customers FROM address_uses
                    WHERE organisation_id = $1 AND channel = 1 AND hash = c.phone_hash), 0),
                COALESCE((SELECT customers FROM address_uses
                    WHERE organisation_id = $1 AND channel = 2 AND hash = c.email_hash), 0)
             FROM ({matching}) AS m
             JOIN customers c ON c.organisation_id = $1 AND c.external_id = m.external_id
             ORDER BY m.external_id"
        )
    };
    let (sqlite, postgres) = (sql(matching.sqlite()), sql(matching.postgres()));
    let rows = connection.rows(differs(&sqlite, &postgres), values).await?;
    rows.iter().map(CandidateRow::read).collect()
}
