//! Numbers new rows without gaps, publishes them, and remembers which the broker confirmed.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use carillon_broker::{CONFIRM_TIMEOUT, Destination, Publication, PublishError};
use carillon_service_kit::{Stop, database::Sql as _};
use sea_orm::DbErr;

use crate::{append::Outbox, headers::Position};

/// Rows published before the confirmed ones are written down.
const ROUND: u64 = 500;
const IDLE: Duration = Duration::from_millis(250);
const BACK_OFF: Duration = Duration::from_millis(200);

pub(crate) struct Row {
    pub id: i64,
    pub position: Position,
    pub body: Vec<u8>,
}

impl Outbox {
    pub(crate) async fn relay(self, stop: Stop) -> Result<(), DbErr> {
        if !self.begun.load(Ordering::Acquire) {
            self.forget_sent().await?;
            self.begun.store(true, Ordering::Release);
        }
        let mut confirmed = Vec::new();
        loop {
            let numbered = self.settle_round(&confirmed).await?;
            confirmed.clear();
            let rows = if numbered { self.unsent().await? } else { Vec::new() };
            let refused = self.publish_all(rows, &mut confirmed).await;
            if refused && !stop.sleep(BACK_OFF).await {
                break;
            }
            if confirmed.is_empty() && !refused {
                if stop.is_stopping() {
                    break;
                }
                tokio::select! {
                    () = self.woken() => {}
                    () = tokio::time::sleep(IDLE) => {}
                    () = stop.requested() => {}
                }
            }
        }
        self.settle_round(&confirmed).await.map(|_| ())
    }

    /// An in-memory broker forgot everything at the last stop, so every row goes again.
    async fn forget_sent(&self) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        tx.run("UPDATE outbox SET sent_at = NULL WHERE sent_at IS NOT NULL", []).await?;
        tx.commit().await
    }

    /// Marks what was confirmed and numbers what is new, in one transaction. Answers whether
    /// there is anything to publish.
    async fn settle_round(&self, confirmed: &[i64]) -> Result<bool, DbErr> {
        let waiting = "SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1";
        if confirmed.is_empty() && self.database.reader().row(waiting, []).await?.is_none() {
            return Ok(false);
        }
        let tx = self.database.begin().await?;
        if !confirmed.is_empty() {
            tx.run(
                "UPDATE outbox SET sent_at = $1 WHERE id IN (SELECT value FROM json_each($2))",
                [self.clock.now_ms().into(), id_list(confirmed).into()],
            )
            .await?;
        }
        tx.run(NUMBER_NEW_ROWS, []).await?;
        tx.run(REMEMBER_LAST_SEQ, []).await?;
        let more = tx.row(waiting, []).await?.is_some();
        tx.commit().await?;
        Ok(more)
    }

    async fn unsent(&self) -> Result<Vec<Row>, DbErr> {
        let sql = "SELECT id, stream, seq, body FROM outbox
                   WHERE sent_at IS NULL AND seq IS NOT NULL ORDER BY id LIMIT $1";
        self.read_rows(sql, [ROUND.into()]).await
    }

    pub(crate) async fn read_rows(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = sea_orm::Value> + Send,
    ) -> Result<Vec<Row>, DbErr> {
        let snapshot = self.database.snapshot().await?;
        let rows = snapshot.rows(sql, values).await?;
        let mut floors: HashMap<String, i64> = HashMap::new();
        let mut read = Vec::with_capacity(rows.len());
        for row in rows {
            let stream: String = row.try_get("", "stream")?;
            let floor = match floors.get(&stream) {
                Some(floor) => *floor,
                None => {
                    let lowest = "SELECT MIN(seq) FROM outbox WHERE stream = $1";
                    let row = snapshot.row(lowest, [stream.clone().into()]).await?;
                    let floor = row.map_or(Ok(1), |row| row.try_get_by_index(0))?;
                    floors.insert(stream.clone(), floor);
                    floor
                }
            };
            read.push(Row {
                id: row.try_get("", "id")?,
                position: Position { stream, seq: row.try_get("", "seq")?, floor },
                body: row.try_get("", "body")?,
            });
        }
        snapshot.commit().await?;
        Ok(read)
    }

    /// Publishes in order; answers whether the broker refused one. What was confirmed before
    /// that stands in `confirmed`.
    async fn publish_all(&self, rows: Vec<Row>, confirmed: &mut Vec<i64>) -> bool {
        for row in rows {
            let to = Destination::Event(row.position.stream.clone());
            match self.publish(&row, to).await {
                Ok(()) => confirmed.push(row.id),
                Err(error) => {
                    tracing::warn!(stream = row.position.stream, %error, "event not published; trying again");
                    return true;
                }
            }
        }
        false
    }

    pub(crate) async fn publish(&self, row: &Row, to: Destination) -> Result<(), PublishError> {
        let publication =
            Publication { to, headers: row.position.to_headers(), body: row.body.clone().into() };
        match tokio::time::timeout(CONFIRM_TIMEOUT, self.broker.publish(publication)).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::Unavailable("no confirm in time".into())),
        }
    }
}

pub(crate) fn id_list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("[{}]", ids.join(","))
}

const NUMBER_NEW_ROWS: &str = "
UPDATE outbox SET seq = numbered.seq
FROM (
    SELECT o.id,
        COALESCE(s.last_seq, 0) + ROW_NUMBER() OVER (PARTITION BY o.stream ORDER BY o.id) AS seq
    FROM outbox o LEFT JOIN streams s ON s.stream = o.stream
    WHERE o.sent_at IS NULL AND o.seq IS NULL
) AS numbered
WHERE outbox.id = numbered.id";

const REMEMBER_LAST_SEQ: &str = "
INSERT INTO streams (stream, last_seq)
SELECT stream, MAX(seq) FROM outbox WHERE sent_at IS NULL AND seq IS NOT NULL GROUP BY stream
ON CONFLICT (stream) DO UPDATE SET last_seq = MAX(last_seq, excluded.last_seq)";
