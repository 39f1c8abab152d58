use std::collections::{BTreeMap, HashMap};

use carillon_contracts::{events::v1::MessageChange, time};
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};

use super::{
    batches::{BatchRow, ListedBatch},
    small,
};

/// What was last heard of a message.
pub(crate) struct MessageRow {
    pub state: String,
    pub reason: String,
    pub parts: u32,
    pub units: u32,
    pub attempt: u32,
    pub changed_at: i64,
    pub provider_code: String,
}

/// One statement an event, however many changes it tells of. Each row keeps the batch version of
/// its last change.
pub(crate) async fn save_messages(
    tx: &DatabaseTransaction,
    batch: &BatchRow,
    version: u64,
    changes: &[MessageChange],
) -> Result<(), DbErr> {
    // Of two changes of one message in an event the later one counts.
    let last: BTreeMap<u32, &MessageChange> =
        changes.iter().map(|change| (change.position, change)).collect();
    let rows: Vec<_> = last
        .into_iter()
        .map(|(position, change)| {
            let at = change.change_time.as_ref().and_then(time::from_wire).unwrap_or_default();
            let MessageChange { state, reason, units, attempt, provider_code, parts, .. } = change;
            (position, state, reason, units, attempt, at.as_millisecond(), provider_code, parts)
        })
        .collect();
    let rows = serde_json::to_string(&rows).map_err(|error| DbErr::Json(error.to_string()))?;
    tx.run(SAVE, [batch.number.into(), version.cast_signed().into(), rows.into()]).await.map(|_| ())
}

const SAVE: Text<'static> = differs(
    "
INSERT INTO report_messages
    (batch, position, state, reason, units, attempt, changed_at, provider_code, parts, version)
SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, value ->> 7, $2
FROM json_each($3) WHERE true
ON CONFLICT (batch, position) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, units = excluded.units,
    attempt = excluded.attempt, changed_at = excluded.changed_at,
    provider_code = excluded.provider_code, parts = excluded.parts, version = excluded.version
WHERE report_messages.version < excluded.version",
    "
INSERT INTO report_messages
    (batch, position, state, reason, units, attempt, changed_at, provider_code, parts, version)
SELECT $1, (value ->> 0)::bigint, value ->> 1, value ->> 2, (value ->> 3)::bigint,
    (value ->> 4)::bigint, (value ->> 5)::bigint, value ->> 6,
    (value ->> 7)::bigint, $2
FROM jsonb_array_elements($3::jsonb) AS changed(value)
ON CONFLICT (batch, position) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, units = excluded.units,
    attempt = excluded.attempt, changed_at = excluded.changed_at,
    provider_code = excluded.provider_code, parts = excluded.parts, version = excluded.version
WHERE report_messages.version < excluded.version",
);

/// What was heard of the messages of batches, by batch and position.
pub(crate) async fn messages_of(
    connection: &impl Sql,
    batches: &[ListedBatch],
) -> Result<HashMap<(i64, u32), MessageRow>, DbErr> {
    let numbers: Vec<i64> = batches.iter().map(|batch| batch.number).collect();
    let numbers =
        serde_json::to_string(&numbers).map_err(|error| DbErr::Json(error.to_string()))?;
    let rows = connection.rows(OF_BATCHES, [numbers.into()]).await?;
    rows.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<((i64, u32), MessageRow), DbErr> {
    let message = MessageRow {
        state: row.try_get("", "state")?,
        reason: row.try_get("", "reason")?,
        parts: small(row, "parts")?,
        units: small(row, "units")?,
        attempt: small(row, "attempt")?,
        changed_at: row.try_get("", "changed_at")?,
        provider_code: row.try_get("", "provider_code")?,
    };
    Ok(((row.try_get("", "batch")?, small(row, "position")?), message))
}

const OF_BATCHES: Text<'static> = differs(
    "
SELECT batch, position, state, reason, units, COALESCE(parts, units) AS parts, attempt,
    changed_at, provider_code
FROM report_messages WHERE batch IN (SELECT value FROM json_each($1))",
    "
SELECT batch, position, state, reason, units, COALESCE(parts, units) AS parts, attempt,
    changed_at, provider_code
FROM report_messages
WHERE batch IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS asked(value))",
);
