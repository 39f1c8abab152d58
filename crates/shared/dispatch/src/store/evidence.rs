//! What providers told: kept as it comes, applied by the batch.

use std::collections::BTreeMap;

use carillon_contracts::{events::v1::MessageChange, ids::BatchId};
use carillon_service_kit::database::{Sql as _, differs};
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Store, batches, messages, totals};
use crate::evidence::Evidence;

/// Rows applied in one transaction, at most.
const AT_ONCE: i64 = 500;

/// What became of a round.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub read: usize,
    /// About messages that were never attempted, or that nobody knows.
    pub baseless: usize,
}

struct Kept {
    id: i64,
    organisation: Uuid,
    run_day: i64,
    message: Uuid,
    says: String,
    provider_code: String,
}

impl Store {
    /// Returns once it is on disk.
    pub(crate) async fn keep_evidence(&self, evidence: &[Evidence]) -> Result<(), DbErr> {
        let rows: Vec<Json> = evidence
            .iter()
            .map(|one| {
                json!({
                    "organisation": one.organisation.uuid().simple().to_string(),
                    "day": one.run_day,
                    "message": one.message.uuid().simple().to_string(),
                    "says": one.says.word(),
                    "code": one.provider_code,
                })
            })
            .collect();
        let tx = self.database.begin().await?;
        tx.run(
            differs(
                "INSERT INTO evidence
                     (organisation_id, run_day, message_id, says, provider_code, kept_at)
                 SELECT unhex(value ->> 'organisation'), value ->> 'day',
                     unhex(value ->> 'message'), value ->> 'says', value ->> 'code', $2
                 FROM json_each($1)",
                "INSERT INTO evidence
                     (organisation_id, run_day, message_id, says, provider_code, kept_at)
                 SELECT organisation, day, message, says, code, $2
                 FROM jsonb_to_recordset($1::jsonb)
                     AS given(organisation uuid, day bigint, message uuid, says text, code text)",
            ),
            [Json::Array(rows).to_string().into(), self.clock.now_ms().into()],
        )
        .await?;
        tx.commit().await
    }

    /// Takes the oldest evidence and raises the states of its messages, batch by batch.
    pub(crate) async fn apply_evidence(&self) -> Result<Applied, DbErr> {
        let tx = self.database.begin().await?;
        let sql =
            "SELECT id, organisation_id, run_day, message_id, says, provider_code FROM evidence
                   ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
        let rows = tx.rows(sql, [AT_ONCE.into()]).await?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in &rows {
            kept.push(Kept {
                id: row.try_get("", "id")?,
                organisation: row.try_get("", "organisation_id")?,
                run_day: row.try_get("", "run_day")?,
                message: row.try_get("", "message_id")?,
                says: row.try_get("", "says")?,
                provider_code: row.try_get("", "provider_code")?,
            });
        }
        let mut applied = Applied { read: kept.len(), baseless: 0 };
        let mut of_batch: BTreeMap<(i32, BatchId), Vec<&Kept>> = BTreeMap::new();
        for one in &kept {
            match batch_of(&tx, one).await? {
                Some(key) => of_batch.entry(key).or_default().push(one),
                None => applied.baseless += 1,
            }
        }
        for ((run_day, batch), evidence) in of_batch {
            self.apply_to(&tx, (run_day, batch), &evidence).await?;
        }
        let ids: Vec<Json> = kept.iter().map(|one| Json::from(one.id)).collect();
        tx.run(
            differs(
                "DELETE FROM evidence WHERE id IN (SELECT value FROM json_each($1))",
                "DELETE FROM evidence WHERE id IN (
                     SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS t(value))",
            ),
            [Json::Array(ids).to_string().into()],
        )
        .await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(applied)
    }

    async fn apply_to(
        &self,
        tx: &DatabaseTransaction,
        key: (i32, BatchId),
        evidence: &[&Kept],
    ) -> Result<(), DbErr> {
        let now_ms = self.clock.now_ms();
        let (run_day, batch) = key;
        // The batch's lock comes before anything is read of its messages.
        let Some(row) = batches::read(tx, run_day, batch).await? else { return Ok(()) };
        let mut changes: BTreeMap<u32, MessageChange> = BTreeMap::new();
        for one in evidence {
            let values = [
                run_day.into(),
                one.message.into(),
                now_ms.into(),
                one.says.clone().into(),
                one.provider_code.clone().into(),
            ];
            for changed in tx.rows(RAISE, values).await? {
                let change = messages::change_of(&changed)?;
                changes.insert(change.position, change);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.into_values().collect();
        totals::publish(tx, self, key, &row, changes, now_ms).await.map(|_| ())
    }
}

/// The batch of a message that was attempted, if it is one of the organisation whose provider says
/// so: a signature proves who speaks, not what they may speak of.
async fn batch_of(
    tx: &DatabaseTransaction,
    evidence: &Kept,
) -> Result<Option<(i32, BatchId)>, DbErr> {
    let sql = "SELECT m.batch_id FROM messages m
               JOIN batches b ON b.run_day = m.run_day AND b.id = m.batch_id
               WHERE m.run_day = $1 AND m.id = $2 AND m.attempt > 0 AND b.organisation_id = $3";
    let values = [evidence.run_day.into(), evidence.message.into(), evidence.organisation.into()];
    let row = tx.row(sql, values).await?;
    let run_day = i32::try_from(evidence.run_day).unwrap_or_default();
    row.map(|row| row.try_get_by_index(0).map(|id| (run_day, BatchId::new(id)))).transpose()
}

/// Only ever upwards: queued, sending, unknown, sent, undelivered, delivered. `never_accepted`
/// settles what was unknown, and nothing else.
const RAISE: &str = "
UPDATE messages SET changed_at = $3, next_attempt_at = NULL,
    provider_code = CASE WHEN $5 = '' THEN provider_code ELSE $5 END,
    reason = CASE WHEN $4 = 'never_accepted' THEN 'never_accepted' ELSE '' END,
    state = CASE WHEN $4 = 'never_accepted' THEN 'failed' ELSE $4 END
WHERE run_day = $1 AND id = $2 AND attempt > 0 AND CASE $4
    WHEN 'never_accepted' THEN state = 'unknown'
    WHEN 'sent' THEN state IN ('queued', 'sending', 'unknown')
    WHEN 'undelivered' THEN state IN ('queued', 'sending', 'unknown', 'sent')
    WHEN 'delivered' THEN state IN ('queued', 'sending', 'unknown', 'sent', 'undelivered')
    ELSE FALSE END
RETURNING position, state, reason, units, attempt, changed_at, provider_code";

/// For tests and figures.
impl Store {
    pub(crate) async fn evidence_waiting(&self) -> Result<i64, DbErr> {
        let row = self.database.reader().row("SELECT COUNT(*) FROM evidence", []).await?;
        row.map_or(Ok(0), |row| row.try_get_by_index(0))
    }
}
