//! What a dead worker had in hand: perhaps sent, perhaps not.

use std::collections::BTreeMap;

use carillon_contracts::{events::v1::MessageChange, ids::BatchId};
use carillon_service_kit::database::Sql as _;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{Store, batches, messages, totals};

impl Store {
    /// Takes a new epoch, and takes over every `sending` row of the earlier ones: with the data
    /// folder locked by this process, no other worker can be alive. Answers the epoch.
    pub(crate) async fn begin_epoch(&self) -> Result<i64, DbErr> {
        let now_ms = self.clock.now_ms();
        let tx = self.database.begin().await?;
        tx.run("UPDATE workers SET dead = 1", []).await?;
        let row = tx
            .row("INSERT INTO workers (started_at) VALUES ($1) RETURNING epoch", [now_ms.into()])
            .await?
            .ok_or(DbErr::RecordNotInserted)?;
        let epoch: i64 = row.try_get_by_index(0)?;
        for ((run_day, batch), changes) in orphans(&tx, now_ms).await? {
            if let Some(row) = batches::read(&tx, run_day, batch).await? {
                let key = (run_day, batch);
                totals::publish(&tx, &self.outbox, key, &row, changes, now_ms).await?;
            }
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(epoch)
    }
}

async fn orphans(
    tx: &DatabaseTransaction,
    now_ms: i64,
) -> Result<BTreeMap<(i32, BatchId), Vec<MessageChange>>, DbErr> {
    let rows = tx
        .rows(
            "UPDATE messages SET state = 'unknown', reason = 'worker_lost', changed_at = $1
             WHERE state = 'sending'
             RETURNING run_day, batch_id, position, state, reason, units, attempt, changed_at,
                 provider_code",
            [now_ms.into()],
        )
        .await?;
    let mut orphans: BTreeMap<(i32, BatchId), Vec<MessageChange>> = BTreeMap::new();
    for row in rows {
        let batch = BatchId::new(row.try_get("", "batch_id")?);
        let key = (row.try_get("", "run_day")?, batch);
        orphans.entry(key).or_default().push(messages::change_of(&row)?);
    }
    Ok(orphans)
}
