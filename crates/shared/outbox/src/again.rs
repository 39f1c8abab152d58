//! Sends overtaken rows again: those that a subscriber lacks although it handled later ones long
//! ago, or although its queue has long been empty. A backlog is not a loss, and is never resent.
//! What was seen and sent is kept in the subscriber's row, so any replica may go on with it.

use std::time::Duration;

use carillon_broker::{Destination, topology};
use carillon_service_kit::{Stop, database::Sql as _};
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult};

use crate::{
    append::Outbox,
    marks::{drop_passed, passed_by_all},
    relay::{Row, read_rows},
};

/// A subscriber that has not spoken for this long may be down; its rows wait.
const SILENCE_MS: i64 = 15_000;
const MOST_AT_ONCE: i64 = 1_000;
/// Looks at a queue within the patience.
const LOOKS: u32 = 12;
/// Whoever looked longer ago than this share of the patience knows nothing of what was between.
const UNSEEN_SHARE: i64 = 4;
const UNSEEN_LEAST_MS: i64 = 1_000;

impl Outbox {
    pub(crate) async fn send_again(self, stop: Stop) -> Result<(), DbErr> {
        let beat = (self.patience / LOOKS).max(Duration::from_millis(20));
        while stop.sleep(beat).await {
            for event in topology::EVENTS {
                if !topology::producers(event).contains(&self.producer) {
                    continue;
                }
                let stream = topology::stream(self.producer, event);
                self.sweep_passed(&stream).await?;
                for subscriber in topology::subscribers(event, self.producer) {
                    self.send_again_to(&stream, subscriber).await?;
                }
            }
        }
        Ok(())
    }

    /// Rows that a replica held when the mark passed them.
    async fn sweep_passed(&self, stream: &str) -> Result<(), DbErr> {
        let passed = passed_by_all(self.database.reader(), stream).await?;
        let kept = "SELECT 1 FROM outbox WHERE stream = $1 AND seq <= $2 LIMIT 1";
        let values = [stream.into(), passed.into()];
        if self.database.reader().row(kept, values).await?.is_none() {
            return Ok(());
        }
        let tx = self.database.begin().await?;
        drop_passed(&tx, stream).await?;
        tx.commit().await
    }

    async fn send_again_to(&self, stream: &str, subscriber: &str) -> Result<(), DbErr> {
        if !self.lacks_any(stream, subscriber).await? {
            return Ok(());
        }
        let queue = topology::event_queue(subscriber, stream);
        let depth = self.broker.depth(&queue).await;
        let idle = depth.is_ok_and(|depth| depth.ready == 0 && depth.consumers > 0);
        let rows = self.claim_overtaken(stream, subscriber, idle).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len();
        for row in rows {
            if let Err(error) = self.publish(row, Destination::Queue(queue.clone())).await {
                tracing::warn!(stream, subscriber, %error, "overtaken events not sent; trying again");
                return self.forget_claim(stream, subscriber).await;
            }
        }
        tracing::info!(stream, subscriber, count, "overtaken events sent again");
        Ok(())
    }

    async fn lacks_any(&self, stream: &str, subscriber: &str) -> Result<bool, DbErr> {
        let sql = "SELECT 1 FROM outbox WHERE stream = $1 AND seq > COALESCE(
            (SELECT mark FROM subscribers WHERE stream = $1 AND subscriber = $2), 0) LIMIT 1";
        let row = self.database.reader().row(sql, [stream.into(), subscriber.into()]).await?;
        Ok(row.is_some())
    }

    /// Writes down what was seen, and takes the rows to send. Another replica that looks at the
    /// same time leaves them to this one.
    async fn claim_overtaken(
        &self,
        stream: &str,
        subscriber: &str,
        idle: bool,
    ) -> Result<Vec<Row>, DbErr> {
        let tx = self.database.begin().await?;
        let Some(row) = tx.row(LOCK_SUBSCRIBER, [stream.into(), subscriber.into()]).await? else {
            return Ok(Vec::new());
        };
        let mut seen = Seen::from_query_result(&row, "")?;
        let now = self.clock.now_ms();
        let long_ago = now.saturating_sub(self.patience_ms());
        let look = Look {
            now,
            patience: self.patience_ms(),
            idle,
            handled_by_then: handled_by(&tx, stream, subscriber, long_ago).await?,
            sent_by_then: sent_by(&tx, stream, long_ago).await?,
        };
        let mut rows = Vec::new();
        if seen.look(&look) {
            let values = [
                stream.into(),
                seen.mark.into(),
                seen.overtaken.into(),
                long_ago.into(),
                MOST_AT_ONCE.into(),
            ];
            rows = read_rows(&tx, OVERTAKEN, values).await?;
            if let Some(last) = rows.last() {
                (seen.again_seq, seen.again_at) = (last.position.seq, Some(now));
            }
        }
        let values = [
            stream.into(),
            subscriber.into(),
            seen.looked_at.into(),
            seen.idle_since.into(),
            seen.overtaken.into(),
            seen.again_seq.into(),
            seen.again_at.into(),
        ];
        tx.run(WRITE_SEEN, values).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The rows did not all go: they are overtaken still.
    async fn forget_claim(&self, stream: &str, subscriber: &str) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        let sql = "UPDATE subscribers SET again_at = NULL WHERE stream = $1 AND subscriber = $2";
        tx.run(sql, [stream.into(), subscriber.into()]).await?;
        tx.commit().await
    }
}

/// What is known of a subscriber that lacks rows.
#[derive(Debug, Clone, Default, FromQueryResult)]
struct Seen {
    mark: i64,
    heard_at: i64,
    looked_at: Option<i64>,
    /// Since when its queue has shown nothing ready and a living consumer.
    idle_since: Option<i64>,
    /// Rows up to here were overtaken, if it lacks them.
    overtaken: i64,
    /// The last row that was sent again, and when.
    again_seq: i64,
    again_at: Option<i64>,
}

/// What is seen now; instants and times in milliseconds.
struct Look {
    now: i64,
    patience: i64,
    idle: bool,
    /// The highest seq that the subscriber had handled when the patience began.
    handled_by_then: i64,
    /// The highest seq that was published when the patience began.
    sent_by_then: i64,
}

impl Seen {
    /// Takes in what is seen now. Answers whether rows must go again.
    fn look(&mut self, look: &Look) -> bool {
        let Look { now, patience, idle, .. } = *look;
        let unseen = (patience / UNSEEN_SHARE).max(UNSEEN_LEAST_MS);
        let lately = self.looked_at.is_some_and(|at| now - at <= unseen);
        self.looked_at = Some(now);
        self.idle_since = match self.idle_since {
            _ if !idle => None,
            Some(since) if lately => Some(since),
            _ => Some(now),
        };
        self.overtaken = self.overtaken.max(look.handled_by_then - 1);
        if self.idle_since.is_some_and(|since| now - since >= patience) {
            self.overtaken = self.overtaken.max(look.sent_by_then);
        }
        self.overtaken > self.mark && now - self.heard_at <= SILENCE_MS && !self.is_under_way(look)
    }

    /// What was sent again waits its turn in the queue, and is lost again only when the queue is
    /// empty without it.
    fn is_under_way(&self, look: &Look) -> bool {
        let Some(at) = self.again_at else { return false };
        let waited = look.now - at;
        let lost = (look.idle && waited >= look.patience) || waited >= 10 * look.patience;
        self.mark < self.again_seq && !lost
    }
}

async fn handled_by(
    tx: &DatabaseTransaction,
    stream: &str,
    subscriber: &str,
    then: i64,
) -> Result<i64, DbErr> {
    let sql = "SELECT MAX(highest) FROM heard
               WHERE stream = $1 AND subscriber = $2 AND heard_at <= $3";
    number(tx.row(sql, [stream.into(), subscriber.into(), then.into()]).await?)
}

async fn sent_by(tx: &DatabaseTransaction, stream: &str, then: i64) -> Result<i64, DbErr> {
    let sql = "SELECT seq FROM outbox WHERE stream = $1 AND sent_at <= $2
               ORDER BY seq DESC LIMIT 1";
    number(tx.row(sql, [stream.into(), then.into()]).await?)
}

/// 0 where there is none.
fn number(row: Option<sea_orm::QueryResult>) -> Result<i64, DbErr> {
    let number = row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?;
    Ok(number.flatten().unwrap_or(0))
}

const LOCK_SUBSCRIBER: &str = "
SELECT mark, heard_at, looked_at, idle_since, overtaken, again_seq, again_at
FROM subscribers WHERE stream = $1 AND subscriber = $2 FOR UPDATE SKIP LOCKED";

const OVERTAKEN: &str = "
SELECT id, stream, seq, body FROM outbox
WHERE stream = $1 AND seq > $2 AND seq <= $3 AND sent_at <= $4 ORDER BY seq LIMIT $5";

const WRITE_SEEN: &str = "
UPDATE subscribers SET looked_at = $3, idle_since = $4, overtaken = $5, again_seq = $6,
    again_at = $7
WHERE stream = $1 AND subscriber = $2";

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look =
        Look { now: 100_000, patience: 60_000, idle: false, handled_by_then: 0, sent_by_then: 9 };

    fn lacking() -> Seen {
        Seen { mark: 4, heard_at: 99_000, looked_at: Some(95_000), ..Seen::default() }
    }

    #[test]
    fn rows_go_again_when_a_later_one_was_handled_long_ago() {
        let mut seen = lacking();
        assert!(seen.look(&Look { handled_by_then: 8, ..LOOK }));
        assert_eq!(seen.overtaken, 7);
        assert!(!lacking().look(&Look { handled_by_then: 5, ..LOOK }), "5 is not below itself");
    }

    #[test]
    fn rows_go_again_when_the_queue_was_long_empty() {
        let long = Seen { idle_since: Some(40_000), ..lacking() };
        assert!(long.clone().look(&Look { idle: true, ..LOOK }));
        assert!(!long.clone().look(&LOOK), "a queue with something in it is a backlog");
        let unseen = Seen { looked_at: Some(70_000), ..long.clone() };
        assert!(!unseen.clone().look(&Look { idle: true, ..LOOK }), "nobody looked in between");
        let lately = Seen { idle_since: Some(41_000), ..long };
        assert!(!lately.clone().look(&Look { idle: true, ..LOOK }));
    }

    #[test]
    fn a_silent_subscriber_gets_nothing() {
        let mut silent = Seen { heard_at: 84_999, ..lacking() };
        assert!(!silent.look(&Look { handled_by_then: 8, ..LOOK }));
        silent.heard_at = 85_000;
        assert!(silent.look(&Look { handled_by_then: 8, ..LOOK }));
    }

    #[test]
    fn what_goes_again_is_given_its_time() {
        let look = Look { handled_by_then: 8, ..LOOK };
        let sent = Seen { again_seq: 7, again_at: Some(50_000), ..lacking() };
        assert!(!sent.clone().look(&look));
        assert!(Seen { mark: 7, overtaken: 9, ..sent.clone() }.look(&look), "handled; the next");
        let long = Seen { again_at: Some(40_000), ..sent };
        assert!(!long.clone().look(&look), "it waits in the queue");
        assert!(long.clone().look(&Look { idle: true, ..look }), "lost again");
    }
}
