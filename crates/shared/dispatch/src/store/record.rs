//! Outcomes of calls, written over the rows of the very claims that they are the outcomes of.

use std::collections::BTreeMap;

use carillon_contracts::{events::v1::MessageChange, ids::BatchId};
use carillon_service_kit::database::{Sql as _, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::{Value as Json, json};

use super::messages::{Recorded, change_of};

/// Answers what changed, by batch. Over `unknown`, where a takeover came first, the owner writes
/// certainty alone: sent, or failed, for its money and its block are gone. What is doubtful is
/// certain only when it was taken, or refused.
pub(crate) async fn record(
    tx: &DatabaseTransaction,
    run_day: i32,
    now_ms: i64,
    records: &[&Recorded],
) -> Result<BTreeMap<BatchId, Vec<MessageChange>>, DbErr> {
    let rows: Vec<Json> = records
        .iter()
        .map(|row| {
            json!([
                row.message.uuid().simple().to_string(),
                row.claim.epoch,
                row.claim.number,
                row.state.word(),
                row.reason,
                row.keep_attempt,
                row.next_attempt_ms,
                row.provider_id,
                row.provider_code,
                row.provider_parts,
            ])
        })
        .collect();
    let values = [run_day.into(), now_ms.into(), Json::Array(rows).to_string().into()];
    let mut changes: BTreeMap<BatchId, Vec<MessageChange>> = BTreeMap::new();
    for row in tx.rows(RECORD, values).await? {
        let batch = BatchId::new(row.try_get("", "batch_id")?);
        changes.entry(batch).or_default().push(change_of(&row)?);
    }
    Ok(changes)
}

macro_rules! over_own_rows {
    () => {
        "UPDATE messages SET changed_at = $2,
             state = CASE
                 WHEN messages.state = 'unknown' AND given.state IN ('queued', 'expired')
                     THEN 'failed'
                 WHEN given.state = 'unknown' AND messages.idempotent
                     AND given.next_attempt_at IS NOT NULL THEN 'queued'
                 WHEN given.state = 'expired' AND messages.doubtful THEN 'unknown'
                 ELSE given.state END,
             reason = CASE
                 WHEN messages.state = 'unknown' AND given.state IN ('queued', 'expired')
                     THEN 'worker_lost'
                 WHEN given.state = 'unknown' AND messages.idempotent
                     AND given.next_attempt_at IS NOT NULL THEN 'retrying'
                 WHEN given.state = 'expired' AND messages.doubtful THEN 'in_doubt'
                 ELSE given.reason END,
             next_attempt_at = CASE
                 WHEN messages.state = 'unknown'
                     OR given.state = 'unknown' AND NOT messages.idempotent THEN NULL
                 ELSE given.next_attempt_at END,
             doubtful = (messages.doubtful OR given.state = 'unknown' AND messages.idempotent),
             attempt = given.attempt, provider_id = given.provider_id,
             provider_code = given.provider_code, provider_parts = given.provider_parts
         FROM given
         WHERE messages.run_day = $1 AND messages.id = given.id
             AND messages.worker_epoch = given.epoch AND messages.claim = given.claim
             AND (messages.state = 'sending'
                 OR messages.state = 'unknown' AND (given.state IN ('sent', 'failed')
                     OR given.state IN ('queued', 'expired') AND NOT messages.doubtful))
         RETURNING messages.batch_id, messages.position, messages.state, messages.reason,
             messages.units, COALESCE(messages.parts, messages.units) AS parts, messages.attempt,
             messages.changed_at, messages.provider_code"
    };
}

const RECORD: Text<'static> = differs(
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS id, value ->> 1 AS epoch, value ->> 2 AS claim,
                 value ->> 3 AS state, value ->> 4 AS reason, value ->> 5 AS attempt,
                 value ->> 6 AS next_attempt_at, value ->> 7 AS provider_id,
                 value ->> 8 AS provider_code, value ->> 9 AS provider_parts
             FROM json_each($3)
         ) ",
        over_own_rows!()
    ),
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT (value ->> 0)::uuid AS id, (value ->> 1)::bigint AS epoch,
                 (value ->> 2)::bigint AS claim, value ->> 3 AS state, value ->> 4 AS reason,
                 (value ->> 5)::bigint AS attempt, (value ->> 6)::bigint AS next_attempt_at,
                 value ->> 7 AS provider_id, value ->> 8 AS provider_code,
                 (value ->> 9)::bigint AS provider_parts
             FROM jsonb_array_elements($3::jsonb) AS given(value)
         ) ",
        over_own_rows!()
    ),
);
