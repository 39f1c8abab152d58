//! A batch's totals, counted from its rows each time they are published.

use std::collections::BTreeMap;

use carillon_contracts::{
    events::v1::{DeliveryChanged, MessageChange, Totals, event::Body},
    ids::BatchId,
    vocabulary::{MessageState, WaitReason},
};
use carillon_outbox::Outbox;
use carillon_service_kit::database::Sql as _;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{batches::BatchRow, messages};

/// What the rows of a batch say.
#[derive(Debug, Default)]
pub(crate) struct Count {
    rows: u32,
    sending: u32,
    waiting: BTreeMap<String, u32>,
    settled: BTreeMap<String, u32>,
    posted_units: i64,
    /// Units of rows that ended without being posted.
    freed_units: i64,
    next_attempt_ms: Option<i64>,
}

impl Count {
    pub(crate) fn unattempted(&self, batch: &BatchRow) -> u32 {
        batch.count.saturating_sub(self.rows)
    }

    /// Every recipient has a row and no call of this worker's is unrecorded.
    pub(crate) fn is_attempted(&self, batch: &BatchRow) -> bool {
        self.unattempted(batch) == 0 && self.sending == 0
    }

    pub(crate) fn is_closed(&self, batch: &BatchRow) -> bool {
        self.is_attempted(batch) && self.waiting.is_empty()
    }

    fn waits_for_money(&self) -> bool {
        [WaitReason::InsufficientBalance, WaitReason::BillingUnavailable]
            .iter()
            .any(|reason| self.waiting.contains_key(reason.word()))
    }

    fn needed_units(&self, batch: &BatchRow, closed: bool) -> i64 {
        if closed { self.posted_units } else { batch.wanted - self.freed_units }
    }
}

pub(crate) async fn count(tx: &DatabaseTransaction, batch: BatchId) -> Result<Count, DbErr> {
    let sql = "SELECT state, reason, COUNT(*) AS n, SUM(units) AS units,
                   MIN(next_attempt_at) AS next_attempt_at
               FROM messages WHERE batch_id = $1 GROUP BY state, reason";
    let mut count = Count::default();
    for row in tx.rows(sql, [batch.uuid().into()]).await? {
        let (state, reason): (String, String) =
            (row.try_get("", "state")?, row.try_get("", "reason")?);
        let (n, units): (u32, i64) = (row.try_get("", "n")?, row.try_get("", "units")?);
        let known: MessageState =
            state.parse().map_err(|error| DbErr::Custom(format!("messages.state: {error}")))?;
        count.rows += n;
        match known {
            MessageState::Queued => {
                *count.waiting.entry(reason).or_default() += n;
                let next: Option<i64> = row.try_get("", "next_attempt_at")?;
                count.next_attempt_ms = [count.next_attempt_ms, next].into_iter().flatten().min();
            }
            MessageState::Planned | MessageState::Sending => count.sending += n,
            settled => {
                *count.settled.entry(state).or_default() += n;
                if settled.is_posted() {
                    count.posted_units += units;
                } else {
                    count.freed_units += units;
                }
            }
        }
    }
    Ok(count)
}

/// Writes what follows from the rows into the batch, and publishes it with the changes. Answers
/// whether the batch is accepted.
pub(crate) async fn publish(
    tx: &DatabaseTransaction,
    outbox: &Outbox,
    key: (i32, BatchId),
    batch: &BatchRow,
    changes: Vec<MessageChange>,
    now_ms: i64,
) -> Result<bool, DbErr> {
    let (run_day, id) = key;
    let freed = changes.iter().any(|change| {
        change.state.parse::<MessageState>().is_ok_and(|now| now.is_settled() && !now.is_posted())
    });
    if freed {
        messages::wake_short(tx, id, now_ms).await?;
    }
    let count = count(tx, id).await?;
    let closed = batch.closed || count.is_closed(batch);
    let accepted = batch.accepted || closed || (count.is_attempted(batch) && batch.has_job);
    let waits_for_money = count.waits_for_money();
    let next_due_ms = count.next_attempt_ms.map(|next| next.min(batch.deadline_ms));
    let version = batch.version + 1;
    tx.run(
        "UPDATE batches SET version = $3, accepted = $4, closed = $5, next_due_at = $6,
             waits_for_money = $7, job = CASE WHEN $5 THEN NULL ELSE job END
         WHERE run_day = $1 AND id = $2",
        [
            run_day.into(),
            id.uuid().into(),
            version.into(),
            accepted.into(),
            closed.into(),
            next_due_ms.into(),
            waits_for_money.into(),
        ],
    )
    .await?;
    let totals = Totals {
        version: version.cast_unsigned(),
        count: batch.count,
        unattempted: count.unattempted(batch),
        sending: count.sending,
        accepted,
        posted_units: count.posted_units.cast_unsigned(),
        needed_units: count.needed_units(batch, closed).max(0).cast_unsigned(),
        closed,
        waiting: count.waiting,
        settled: count.settled,
    };
    let changed = DeliveryChanged {
        campaign_id: batch.campaign.to_wire(),
        run_id: batch.run.to_wire(),
        batch_id: id.to_wire(),
        run_day,
        channel: batch.channel.into(),
        totals: Some(totals),
        changes,
    };
    outbox.append(tx, batch.organisation, Body::DeliveryChanged(changed)).await?;
    Ok(accepted)
}
