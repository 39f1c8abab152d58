//! What says whether a customer may be sent to, read and written for many at once.

use carillon_contracts::{
    audience::v1::Consent,
    ids::{CustomerId, OrganisationId},
};
use carillon_service_kit::database::{Sql, Text, differs, same};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{json, listed::listed, narrow};
use crate::domain::{record::Subscription, standing::Standing};

/// Those of the customers that exist, in the order of their external ids. Until the transaction
/// ends nobody else changes them.
pub(crate) async fn standings(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    external_ids: &[String],
) -> Result<Vec<(String, Standing)>, DbErr> {
    let values = [organisation.uuid().into(), json(&external_ids)?.into()];
    tx.rows(STANDINGS, values).await?.iter().map(read).collect()
}

pub(super) fn read(row: &QueryResult) -> Result<(String, Standing), DbErr> {
    let consent: i32 = narrow(row, 3)?;
    let standing = Standing {
        customer: CustomerId::new(row.try_get_by_index(1)?),
        version: row.try_get_by_index(2)?,
        consent: Consent::try_from(consent).map_err(|error| DbErr::Type(error.to_string()))?,
        blacklisted: row.try_get_by_index(4)?,
        sms: Subscription::from_stored(narrow(row, 5)?),
        email: Subscription::from_stored(narrow(row, 6)?),
    };
    Ok((row.try_get_by_index(0)?, standing))
}

/// Of customers of all organisations, in the order of their keys, from just after one.
pub(crate) async fn all_standings_after(
    connection: &impl Sql,
    (organisation, external_id): (Uuid, &str),
    limit: i64,
) -> Result<Vec<(OrganisationId, String, Standing)>, DbErr> {
    let values = [organisation.into(), external_id.into(), limit.into()];
    let rows = connection.rows(ALL_AFTER, values).await?;
    let read = |row: &QueryResult| {
        let (external_id, standing) = read(row)?;
        Ok((OrganisationId::new(row.try_get_by_index(7)?), external_id, standing))
    };
    rows.iter().map(read).collect()
}

pub(super) const ALL_AFTER: Text = same(
    "SELECT external_id, id, version, consent, blacklisted, subscribe_sms, subscribe_email,
         organisation_id
     FROM customers WHERE (organisation_id, external_id) > ($1, $2)
     ORDER BY organisation_id, external_id LIMIT $3",
);

const STANDINGS: Text = listed!(
    "SELECT external_id, id, version, consent, blacklisted, subscribe_sms, subscribe_email
     FROM customers WHERE organisation_id = $1 AND external_id", texts "$2", "
     ORDER BY external_id FOR UPDATE"
);

/// Writes the blacklist and the subscriptions of customers that were read in this transaction.
pub(crate) async fn set_standings(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    changed: &[(&str, &Standing)],
    at: i64,
) -> Result<(), DbErr> {
    let rows: Vec<_> = changed
        .iter()
        .map(|(id, to)| (id, to.blacklisted, to.sms as i32, to.email as i32, to.version))
        .collect();
    let values = [organisation.uuid().into(), json(&rows)?.into(), at.into()];
    tx.run(SET, values).await.map(|_| ())
}

/// In either database's words the list is walked and each customer looked up by the key. A locked
/// row stays where it is.
pub(super) const SET: Text = differs(
    "
WITH changed AS MATERIALIZED (
    SELECT $1 AS organisation_id, value->>0 AS external_id, value->>1 AS blacklisted,
        value->>2 AS sms, value->>3 AS email, value->>4 AS version
    FROM json_each($2)
)
UPDATE customers SET blacklisted = changed.blacklisted, subscribe_sms = changed.sms,
    subscribe_email = changed.email, version = changed.version, updated_at = $3
FROM changed
WHERE customers.organisation_id = changed.organisation_id
AND customers.external_id = changed.external_id",
    "
UPDATE customers SET blacklisted = changed.blacklisted, subscribe_sms = changed.sms,
    subscribe_email = changed.email, version = changed.version, updated_at = $3
FROM (
    SELECT value->>0 AS external_id, (value->>1)::boolean AS blacklisted,
        (value->>2)::bigint AS sms, (value->>3)::bigint AS email, (value->>4)::bigint AS version
    FROM jsonb_array_elements($2::jsonb) AS l(value)
) AS changed CROSS JOIN LATERAL (
    SELECT ctid FROM customers
    WHERE organisation_id = $1 AND external_id = changed.external_id OFFSET 0
) AS found
WHERE customers.ctid = found.ctid",
);
