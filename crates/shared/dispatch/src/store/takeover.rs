//! What a worker left behind: perhaps sent, perhaps not.

use std::collections::BTreeMap;

use carillon_contracts::{
    events::v1::MessageChange,
    ids::{BatchId, MessageId},
};
use carillon_service_kit::{
    database::{Sql as _, differs},
    faults,
};
use sea_orm::{DatabaseTransaction, DbErr};

use super::{
    Key, Store, as_u32, batches,
    batches::BatchRow,
    day_of,
    messages::{self, ClaimId},
    totals::{self, Book, by_day},
};

/// Batches taken over in one transaction, at most.
const AT_ONCE: i64 = 64;

/// A row in `sending`.
#[derive(Debug)]
pub(crate) struct Sending {
    pub key: Key,
    pub message: MessageId,
    pub attempt: u32,
    pub claim: ClaimId,
}

impl Store {
    /// Takes over every `sending` row of dead epochs, and forgets the epochs: the dead claim
    /// nothing, so one without rows will never have any.
    pub(crate) async fn sweep_dead(&self) -> Result<(), DbErr> {
        let dead = "SELECT epoch FROM workers WHERE dead ORDER BY epoch";
        for row in self.database.reader().rows(dead, []).await? {
            let epoch: i64 = row.try_get_by_index(0)?;
            while self.sweep(epoch).await? {}
        }
        Ok(())
    }

    /// Answers whether there may be more.
    async fn sweep(&self, epoch: i64) -> Result<bool, DbErr> {
        let now_ms = self.clock.now_ms();
        let tx = self.database.begin().await?;
        let sql = "SELECT DISTINCT run_day, batch_id FROM messages
                   WHERE worker_epoch = $1 AND state = 'sending'
                   ORDER BY run_day, batch_id LIMIT $2";
        let rows = tx.rows(sql, [epoch.into(), AT_ONCE.into()]).await?;
        let keys =
            rows.iter().map(|row| Ok((day_of(row)?, BatchId::new(row.try_get("", "batch_id")?))));
        let keys: Vec<Key> = keys.collect::<Result<_, DbErr>>()?;
        if keys.is_empty() {
            tx.run("DELETE FROM heartbeats WHERE epoch = $1", [epoch.into()]).await?;
            tx.run("DELETE FROM workers WHERE epoch = $1 AND dead", [epoch.into()]).await?;
            tx.commit().await?;
            return Ok(false);
        }
        let mut locked = BTreeMap::new();
        let days = by_day(keys.into_iter());
        for (run_day, batches) in &days {
            locked.extend(batches::lock(&tx, *run_day, batches).await?);
        }
        let mut books = BTreeMap::new();
        for (key, row) in locked {
            let changes = take_over(&tx, epoch, key, &row, now_ms).await?;
            let mut book = Book::new(row, totals::Count::default(), changes);
            book.recount = true;
            books.insert(key, book);
        }
        totals::publish_all(&tx, self, &mut books, now_ms).await?;
        faults::commit(tx, "dispatch.takeover").await?;
        self.outbox.wake();
        Ok(true)
    }

    /// What the worker has in `sending`, as the database has it.
    pub(crate) async fn sending_of(&self, epoch: i64) -> Result<Vec<Sending>, DbErr> {
        let sql = "SELECT run_day, batch_id, id, attempt, claim FROM messages
                   WHERE worker_epoch = $1 AND state = 'sending'";
        let rows = self.database.reader().rows(sql, [epoch.into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(Sending {
                    key: (day_of(row)?, BatchId::new(row.try_get("", "batch_id")?)),
                    message: MessageId::new(row.try_get("", "id")?),
                    attempt: as_u32(row.try_get::<i64>("", "attempt")?),
                    claim: ClaimId { epoch, number: row.try_get("", "claim")? },
                })
            })
            .collect()
    }
}

/// Where the provider takes a message once only, the call may be repeated; elsewhere nobody knows.
async fn take_over(
    tx: &DatabaseTransaction,
    epoch: i64,
    (run_day, batch): Key,
    row: &BatchRow,
    now_ms: i64,
) -> Result<Vec<MessageChange>, DbErr> {
    let sql = differs(TAKE_OVER_ON_SQLITE, TAKE_OVER_ON_POSTGRES);
    let values = [
        run_day.into(),
        batch.uuid().into(),
        epoch.into(),
        now_ms.into(),
        (now_ms < row.deadline_ms).into(),
    ];
    tx.rows(sql, values).await?.iter().map(messages::change_of).collect()
}

macro_rules! taken_over {
    ($day:literal) => {
        concat!(
            "UPDATE messages SET changed_at = $4, doubtful = (doubtful OR idempotent),
                 state = CASE WHEN idempotent AND $5 THEN 'queued' ELSE 'unknown' END,
                 reason = CASE WHEN idempotent AND $5 THEN 'retrying' ELSE 'worker_lost' END,
                 next_attempt_at = CASE WHEN idempotent AND $5 THEN $4 ELSE NULL END
             WHERE ",
            $day,
            " = $1 AND batch_id = $2 AND worker_epoch = $3 AND state = 'sending'
             RETURNING position, state, reason, units, COALESCE(parts, units) AS parts, attempt,
                 changed_at, provider_code"
        )
    };
}

const TAKE_OVER_ON_SQLITE: &str = taken_over!("+run_day");
const TAKE_OVER_ON_POSTGRES: &str = taken_over!("run_day");
