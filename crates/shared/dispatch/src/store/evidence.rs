//! What providers told: kept as it comes, applied by the batch.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{
    events::v1::MessageChange,
    ids::{BatchId, MessageId, OrganisationId},
};
use carillon_service_kit::database::{Sql as _, Text, differs, list};
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{
    Store, batches, day_of, messages,
    totals::{self, Book},
};
use crate::evidence::{Evidence, Says};

/// Rows applied in one transaction, at most.
const AT_ONCE: i64 = 500;

/// What became of a round.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub done: usize,
    pub baseless: BTreeMap<OrganisationId, Baseless>,
}

/// What an organisation's providers said of messages that were never attempted, or that it does
/// not have.
#[derive(Debug)]
pub(crate) struct Baseless {
    pub receipts: u64,
    /// One of them.
    pub message: MessageId,
}

struct Kept {
    organisation: Uuid,
    message: Uuid,
    says: Says,
    provider_code: String,
}

impl Store {
    /// Returns once it is on disk.
    pub(crate) async fn keep_evidence(&self, evidence: &[Evidence]) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        self.keep_evidence_within(&tx, evidence).await?;
        tx.commit().await
    }

    pub(crate) async fn keep_evidence_within(
        &self,
        tx: &DatabaseTransaction,
        evidence: &[Evidence],
    ) -> Result<(), DbErr> {
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
        .await
        .map(|_| ())
    }

    /// Takes the oldest evidence and raises the states of its messages.
    pub(crate) async fn apply_evidence(&self) -> Result<Applied, DbErr> {
        let tx = self.database.begin().await?;
        let kept = take(&tx).await?;
        let (mut based, mut held) = (BTreeSet::new(), BTreeSet::new());
        for (run_day, kept) in &kept {
            let found = messages_of(&tx, *run_day, kept).await?;
            based.extend(found.iter().map(|(id, ..)| *id));
            self.apply_to_day(&tx, *run_day, found).await?;
            held.extend(undecided(&tx, *run_day, kept).await?);
        }
        let ids = || kept.values().flat_map(BTreeMap::keys).filter(|id| !held.contains(id));
        let sql = differs(
            "DELETE FROM evidence WHERE id IN (SELECT value FROM json_each($1))",
            "DELETE FROM evidence WHERE id IN (
                 SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS t(value))",
        );
        tx.run(sql, [list::numbers(ids()).into()]).await?;
        let done = ids().count();
        tx.commit().await?;
        self.outbox.wake();
        Ok(Applied { done, baseless: baseless(&kept, &based) })
    }

    async fn apply_to_day(
        &self,
        tx: &DatabaseTransaction,
        run_day: i32,
        found: Vec<(i64, BatchId, &Kept)>,
    ) -> Result<(), DbErr> {
        let now_ms = self.clock.now_ms();
        let batches: BTreeSet<BatchId> = found.iter().map(|(_, batch, _)| *batch).collect();
        if batches.is_empty() {
            return Ok(());
        }
        // The batches' locks come before anything is read of their messages.
        let rows = batches::lock(tx, run_day, &batches).await?;
        let mut strongest: BTreeMap<Uuid, &Kept> = BTreeMap::new();
        for (.., one) in found {
            let kept = strongest.entry(one.message).or_insert(one);
            if one.says.rank() > kept.says.rank() {
                *kept = one;
            }
        }
        lift_doubt(tx, run_day, strongest.values().copied()).await?;
        let mut changes = raise(tx, run_day, now_ms, strongest.into_values()).await?;
        let changed: BTreeSet<BatchId> = changes.keys().copied().collect();
        let mut counts = totals::count(tx, run_day, &changed).await?;
        let mut books = BTreeMap::new();
        for (key, row) in rows {
            if let (Some(changes), Some(count)) = (changes.remove(&key.1), counts.remove(&key)) {
                books.insert(key, Book::new(row, count, changes));
            }
        }
        totals::publish_all(tx, self, &mut books, now_ms).await
    }
}

/// The oldest, by their days and ids; locked, so that replicas take others.
async fn take(tx: &DatabaseTransaction) -> Result<BTreeMap<i32, BTreeMap<i64, Kept>>, DbErr> {
    let sql = "SELECT id, organisation_id, run_day, message_id, says, provider_code FROM evidence
               ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
    let mut kept: BTreeMap<i32, BTreeMap<i64, Kept>> = BTreeMap::new();
    for row in tx.rows(sql, [AT_ONCE.into()]).await? {
        let says: String = row.try_get("", "says")?;
        let says = Says::of_word(&says)
            .ok_or_else(|| DbErr::Custom(format!("evidence.says: '{says}' is not known")))?;
        let one = Kept {
            organisation: row.try_get("", "organisation_id")?,
            message: row.try_get("", "message_id")?,
            says,
            provider_code: row.try_get("", "provider_code")?,
        };
        kept.entry(day_of(&row)?).or_default().insert(row.try_get("", "id")?, one);
    }
    Ok(kept)
}

fn baseless(
    kept: &BTreeMap<i32, BTreeMap<i64, Kept>>,
    based: &BTreeSet<i64>,
) -> BTreeMap<OrganisationId, Baseless> {
    let mut baseless = BTreeMap::new();
    for (_, one) in kept.values().flatten().filter(|(id, _)| !based.contains(id)) {
        let message = MessageId::new(one.message);
        let of = baseless.entry(OrganisationId::new(one.organisation));
        of.or_insert(Baseless { receipts: 0, message }).receipts += 1;
    }
    baseless
}

/// Evidence of messages that were attempted, with their batches, where these are of the
/// organisation whose provider says so: a signature proves who speaks, not what they may speak of.
async fn messages_of<'a>(
    tx: &DatabaseTransaction,
    run_day: i32,
    kept: &'a BTreeMap<i64, Kept>,
) -> Result<Vec<(i64, BatchId, &'a Kept)>, DbErr> {
    let sql = differs(
        "SELECT e.id, m.batch_id FROM evidence e
         JOIN messages m ON m.run_day = $1 AND m.id = e.message_id AND m.attempt > 0
         JOIN batches b ON b.run_day = $1 AND b.id = m.batch_id
             AND b.organisation_id = e.organisation_id
         WHERE e.id IN (SELECT value FROM json_each($2))",
        "SELECT e.id, m.batch_id FROM evidence e
         JOIN messages m ON m.run_day = $1 AND m.id = e.message_id AND m.attempt > 0
         JOIN batches b ON b.run_day = $1 AND b.id = m.batch_id
             AND b.organisation_id = e.organisation_id
         WHERE e.id = ANY(ARRAY(
             SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb) AS given(value)))",
    );
    let rows = tx.rows(sql, [run_day.into(), list::numbers(kept.keys()).into()]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let id: i64 = row.try_get_by_index(0)?;
        if let Some(one) = kept.get(&id) {
            found.push((id, BatchId::new(row.try_get_by_index(1)?), one));
        }
    }
    Ok(found)
}

/// Proof of messages whose call has not ended yet is kept: it is for what comes of the call.
async fn undecided(
    tx: &DatabaseTransaction,
    run_day: i32,
    kept: &BTreeMap<i64, Kept>,
) -> Result<Vec<i64>, DbErr> {
    let proofs = kept.iter().filter(|(_, one)| one.says == Says::NeverAccepted);
    let proofs: Vec<&i64> = proofs.map(|(id, _)| id).collect();
    if proofs.is_empty() {
        return Ok(Vec::new());
    }
    let sql = differs(
        "SELECT e.id FROM evidence e
         JOIN messages m ON m.run_day = $1 AND m.id = e.message_id AND m.state = 'sending'
         JOIN batches b ON b.run_day = $1 AND b.id = m.batch_id
             AND b.organisation_id = e.organisation_id
         WHERE e.id IN (SELECT value FROM json_each($2))",
        "SELECT e.id FROM evidence e
         JOIN messages m ON m.run_day = $1 AND m.id = e.message_id AND m.state = 'sending'
         JOIN batches b ON b.run_day = $1 AND b.id = m.batch_id
             AND b.organisation_id = e.organisation_id
         WHERE e.id = ANY(ARRAY(
             SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb) AS given(value)))",
    );
    let rows = tx.rows(sql, [run_day.into(), list::numbers(proofs).into()]).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// What was surely not taken may be tried anywhere, and end in any way. Of several calls nobody
/// knows which one the proof is about, so they stay in doubt.
async fn lift_doubt(
    tx: &DatabaseTransaction,
    run_day: i32,
    evidence: impl Iterator<Item = &Kept>,
) -> Result<(), DbErr> {
    let proofs = evidence.filter(|one| one.says == Says::NeverAccepted);
    let messages: Vec<Uuid> = proofs.map(|one| one.message).collect();
    if messages.is_empty() {
        return Ok(());
    }
    let sql = differs(
        "UPDATE messages SET doubtful = FALSE
         WHERE run_day = $1 AND id IN (SELECT unhex(value) FROM json_each($2))
             AND state = 'queued' AND doubtful AND attempt = 1",
        "UPDATE messages SET doubtful = FALSE
         WHERE run_day = $1 AND id = ANY(ARRAY(
                 SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb) AS given(value)))
             AND state = 'queued' AND doubtful AND attempt = 1",
    );
    tx.run(sql, [run_day.into(), list::ids(messages).into()]).await.map(|_| ())
}

/// What changed, by batch. Each message is given once.
async fn raise(
    tx: &DatabaseTransaction,
    run_day: i32,
    now_ms: i64,
    evidence: impl Iterator<Item = &Kept>,
) -> Result<BTreeMap<BatchId, Vec<MessageChange>>, DbErr> {
    let given = evidence
        .map(|one| json!([one.message.simple().to_string(), one.says.word(), one.provider_code]));
    let given = Json::Array(given.collect()).to_string();
    let mut changes: BTreeMap<BatchId, Vec<MessageChange>> = BTreeMap::new();
    for row in tx.rows(RAISE, [run_day.into(), now_ms.into(), given.into()]).await? {
        let batch = BatchId::new(row.try_get("", "batch_id")?);
        changes.entry(batch).or_default().push(messages::change_of(&row)?);
    }
    Ok(changes)
}

/// Only ever upwards: queued, sending, unknown, sent, undelivered, delivered. `never_accepted`
/// settles what was unknown, and nothing else. A code goes with the state that it explained, or what
/// is delivered would show why it was not, by the order of its receipts.
macro_rules! raised {
    () => {
        " UPDATE messages SET changed_at = $2, next_attempt_at = NULL,
             provider_code = given.code,
             reason = CASE WHEN given.says = 'never_accepted' THEN 'never_accepted' ELSE '' END,
             state = CASE WHEN given.says = 'never_accepted' THEN 'failed' ELSE given.says END
         FROM given
         WHERE messages.run_day = $1 AND messages.id = given.id AND messages.attempt > 0
             AND CASE given.says
                 WHEN 'never_accepted' THEN messages.state = 'unknown'
                 WHEN 'sent' THEN messages.state IN ('queued', 'sending', 'unknown')
                 WHEN 'undelivered' THEN
                     messages.state IN ('queued', 'sending', 'unknown', 'sent')
                 WHEN 'delivered' THEN
                     messages.state IN ('queued', 'sending', 'unknown', 'sent', 'undelivered')
                 ELSE FALSE END
         RETURNING messages.batch_id, messages.position, messages.state, messages.reason,
             messages.units, COALESCE(messages.parts, messages.units) AS parts, messages.attempt,
             messages.changed_at, messages.provider_code"
    };
}

const RAISE: Text<'static> = differs(
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS id, value ->> 1 AS says, value ->> 2 AS code
             FROM json_each($3)
         )",
        raised!()
    ),
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT (value ->> 0)::uuid AS id, value ->> 1 AS says, value ->> 2 AS code
             FROM jsonb_array_elements($3::jsonb) AS given(value)
         )",
        raised!()
    ),
);
