//! What customers did, and the balances that follow.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr};
use serde::Serialize;

use super::{json, listed::listed};

/// What a customer did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ActivityRow {
    pub event_id: String,
    pub external_id: String,
    pub kind: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Ten-thousandths.
    pub amount: Option<i64>,
    pub rating: String,
}

/// Those of the events that are stored, by their ids.
pub(crate) async fn known_activities(
    connection: &impl Sql,
    organisation: OrganisationId,
    event_ids: &[&str],
) -> Result<HashMap<String, ActivityRow>, DbErr> {
    let values = [organisation.uuid().into(), json(&event_ids)?.into()];
    let rows = connection.rows(KNOWN, values).await?;
    rows.iter()
        .map(|row| {
            let row = ActivityRow {
                event_id: row.try_get_by_index(0)?,
                external_id: row.try_get_by_index(1)?,
                kind: row.try_get_by_index(2)?,
                at: row.try_get_by_index(3)?,
                amount: row.try_get_by_index(4)?,
                rating: row.try_get_by_index(5)?,
            };
            Ok((row.event_id.clone(), row))
        })
        .collect()
}

const KNOWN: Text = listed!(
    "SELECT event_id, external_id, kind, at, amount, rating FROM activities
     WHERE organisation_id = $1 AND event_id", texts "$2", ""
);

/// Answers whether all were new; if not, somebody else has just stored one of them.
pub(crate) async fn add_activities(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    rows: &[ActivityRow],
    created_at: i64,
) -> Result<bool, DbErr> {
    let values = [organisation.uuid().into(), json(&rows)?.into(), created_at.into()];
    let added = tx.run(ADD, values).await?;
    Ok(added.rows_affected() == rows.len() as u64)
}

const ADD: Text = differs(
    "INSERT INTO activities
        (organisation_id, event_id, external_id, kind, at, amount, rating, created_at)
     SELECT $1, value->>'event_id', value->>'external_id', value->>'kind', value->>'at',
        value->>'amount', value->>'rating', $3
     FROM json_each($2) WHERE true
     ON CONFLICT DO NOTHING",
    "INSERT INTO activities
        (organisation_id, event_id, external_id, kind, at, amount, rating, created_at)
     SELECT $1, event_id, external_id, kind, at, amount, rating, $3
     FROM jsonb_to_recordset($2::jsonb) AS given(event_id text, external_id text, kind text,
        at bigint, amount bigint, rating text)
     ON CONFLICT DO NOTHING",
);

/// Raises balances by `(external id, difference)`, each customer once; the caller has locked them.
pub(crate) async fn add_points(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    differences: &[(&str, i64)],
    at: i64,
) -> Result<(), DbErr> {
    let values = [organisation.uuid().into(), json(&differences)?.into(), at.into()];
    tx.run(ADD_POINTS, values).await.map(|_| ())
}

/// In either database's words the list is walked and each customer looked up by the key. A locked
/// row stays where it is.
pub(super) const ADD_POINTS: Text = differs(
    "
WITH added AS MATERIALIZED (
    SELECT $1 AS organisation_id, value->>0 AS external_id, value->>1 AS difference
    FROM json_each($2)
)
UPDATE customers SET points = points + added.difference, updated_at = $3, version = version + 1
FROM added
WHERE customers.organisation_id = added.organisation_id
AND customers.external_id = added.external_id",
    "
UPDATE customers SET points = points + added.difference, updated_at = $3, version = version + 1
FROM (
    SELECT value->>0 AS external_id, (value->>1)::bigint AS difference
    FROM jsonb_array_elements($2::jsonb) AS l(value)
) AS added CROSS JOIN LATERAL (
    SELECT ctid FROM customers
    WHERE organisation_id = $1 AND external_id = added.external_id OFFSET 0
) AS found
WHERE customers.ctid = found.ctid",
);
