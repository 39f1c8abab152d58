//! Numbers new rows without gaps, publishes them, and remembers which the broker confirmed. Any
//! number of replicas do so on one database: each publishes rows that no other holds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use carillon_broker::{CONFIRM_TIMEOUT, Destination, Publication, PublishError};
use carillon_service_kit::{
    Stop,
    database::{Sql as _, Text, differs, list},
    faults,
};
use futures::{StreamExt as _, stream};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{append::Outbox, headers, headers::Position};

/// Rows published before the confirmed ones are written down.
const ROUND: u64 = 500;
/// Confirms awaited at a time.
const PIPELINE: usize = 64;
/// The relay's name among a process's tasks.
pub(crate) const TASK: &str = "outbox relay";
const IDLE: Duration = Duration::from_millis(250);
const STOPPING_IDLE: Duration = Duration::from_millis(20);
/// How long a relay goes on publishing once all else has stopped.
const LAST_ROUNDS: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_millis(200);
const BACK_OFF_MOST: Duration = Duration::from_secs(5);

pub(crate) struct Row {
    pub id: i64,
    pub position: Position,
    pub body: Vec<u8>,
}

/// What the broker confirmed in a round, and on a shared database the transaction that keeps other
/// replicas off the round's rows. Dropped, or its process killed, it lets go of them.
#[derive(Default)]
struct Round {
    confirmed: Vec<i64>,
    hold: Option<DatabaseTransaction>,
}

/// Streams that the broker refused lately, so that they hold up no other.
#[derive(Default)]
pub(crate) struct Resting(Mutex<HashMap<String, Rest>>);

#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    length: Duration,
}

impl Outbox {
    pub(crate) async fn relay(self, stop: Stop) -> Result<(), DbErr> {
        if !self.database.is_shared() && !self.begun.load(Ordering::Acquire) {
            self.forget_sent().await?;
            self.begun.store(true, Ordering::Release);
        }
        let resting = Resting::default();
        let mut round = Round::default();
        let mut alone_since = None;
        loop {
            // Other tasks may still write what they finish. After them, replicas go on writing, and
            // what is left then is for them to publish.
            if stop.is_stopping() && stop.left_to(TASK) && self.database.is_shared() {
                let since = *alone_since.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST_ROUNDS {
                    self.settle(round).await?;
                    return Ok(());
                }
            }
            let waiting = self.settle(std::mem::take(&mut round)).await?;
            if waiting {
                round = self.publish_round(&resting).await?;
            }
            if round.confirmed.is_empty() {
                round = Round::default();
                if stop.is_stopping() {
                    if stop.left_to(TASK) {
                        return Ok(());
                    }
                    tokio::time::sleep(STOPPING_IDLE).await;
                    continue;
                }
                tokio::select! {
                    () = self.woken() => {}
                    () = tokio::time::sleep(IDLE) => {}
                    () = stop.requested() => {}
                }
            }
        }
    }

    /// An in-memory broker forgot everything at the last stop, so every row goes again.
    async fn forget_sent(&self) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        tx.run("UPDATE outbox SET sent_at = NULL WHERE sent_at IS NOT NULL", []).await?;
        tx.commit().await
    }

    /// Marks what was confirmed and numbers what is new, in one transaction. Answers whether
    /// there is anything to publish.
    async fn settle(&self, round: Round) -> Result<bool, DbErr> {
        let Round { confirmed, hold } = round;
        let waiting = "SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1";
        if confirmed.is_empty() && self.database.reader().row(waiting, []).await?.is_none() {
            return Ok(false);
        }
        let tx = match hold {
            Some(hold) => hold,
            None => self.database.begin().await?,
        };
        if !confirmed.is_empty() {
            tx.run(MARK_SENT, [self.clock.now_ms().into(), list::numbers(&confirmed).into()])
                .await?;
        }
        number(&tx).await?;
        let more = tx.row(waiting, []).await?.is_some();
        faults::commit(tx, "outbox.settle").await?;
        Ok(more)
    }

    async fn publish_round(&self, resting: &Resting) -> Result<Round, DbErr> {
        let shared = self.database.is_shared();
        // On an embedded database nobody else publishes, and a transaction would hold up writers.
        let tx = match shared {
            true => self.database.begin().await?,
            false => self.database.snapshot().await?,
        };
        let rows = read_rows(&tx, TAKE_UNSENT, [ROUND.into(), resting.list().into()]).await?;
        let hold = if shared {
            Some(tx)
        } else {
            tx.commit().await?;
            None
        };
        let confirmed = stream::iter(rows.into_iter().map(|row| self.publish_one(row, resting)))
            .buffer_unordered(PIPELINE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Round { confirmed, hold })
    }

    /// The row's id where the broker confirmed it.
    async fn publish_one(&self, row: Row, resting: &Resting) -> Option<i64> {
        let (id, stream) = (row.id, row.position.stream.clone());
        if resting.rests(&stream) {
            return None;
        }
        match self.publish(row, Destination::Event(stream.clone())).await {
            Ok(()) => {
                faults::point("outbox.confirmed");
                resting.worked(&stream);
                Some(id)
            }
            Err(error) => {
                if resting.refused(&stream) {
                    tracing::warn!(stream, %error, "events not published; trying again");
                }
                None
            }
        }
    }

    pub(crate) async fn publish(&self, row: Row, to: Destination) -> Result<(), PublishError> {
        let mut headers = row.position.to_headers();
        headers.extend(headers::trace_of(&row.body));
        let publication = Publication { to, headers, body: row.body.into() };
        faults::point_under_way("outbox.publish").await;
        match tokio::time::timeout(CONFIRM_TIMEOUT, self.broker.publish(publication)).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::Unavailable("no confirm in time".into())),
        }
    }
}

impl Resting {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, stream: &str) -> bool {
        self.lock().get(stream).is_some_and(|rest| Instant::now() < rest.until)
    }

    fn worked(&self, stream: &str) {
        self.lock().remove(stream);
    }

    /// Each refusal in a row doubles the rest. Answers whether it begins now: those of one round
    /// count once.
    fn refused(&self, stream: &str) -> bool {
        let (now, mut all) = (Instant::now(), self.lock());
        let last = all.get(stream).copied();
        if last.is_some_and(|rest| now < rest.until) {
            return false;
        }
        let length = last.map_or(BACK_OFF, |rest| (rest.length * 2).min(BACK_OFF_MOST));
        all.insert(stream.to_owned(), Rest { until: now + length, length });
        true
    }

    /// A JSON array of the streams that rest now.
    fn list(&self) -> String {
        let now = Instant::now();
        let all = self.lock();
        let streams: Vec<String> = all
            .iter()
            .filter(|(_, rest)| now < rest.until)
            .map(|(stream, _)| format!("\"{stream}\""))
            .collect();
        format!("[{}]", streams.join(","))
    }
}

/// Locks the streams' rows, then, in another statement and so with a fresh snapshot, numbers the
/// new rows of each without gaps.
async fn number(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.row("SELECT 1 FROM outbox WHERE seq IS NULL LIMIT 1", []).await?.is_none() {
        return Ok(());
    }
    tx.run(NAME_STREAMS, []).await?;
    tx.rows("SELECT stream FROM streams ORDER BY stream FOR UPDATE", []).await?;
    tx.run(NUMBER_NEW_ROWS, []).await?;
    tx.run(REMEMBER_LAST_SEQ, []).await.map(|_| ())
}

/// Rows with what they travel with. The transaction sees one state, or holds the rows.
pub(crate) async fn read_rows(
    tx: &DatabaseTransaction,
    sql: impl Into<Text<'_>>,
    values: impl IntoIterator<Item = sea_orm::Value> + Send,
) -> Result<Vec<Row>, DbErr> {
    let rows = tx.rows(sql, values).await?;
    let mut floors: HashMap<String, i64> = HashMap::new();
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let stream: String = row.try_get("", "stream")?;
        let floor = match floors.get(&stream) {
            Some(floor) => *floor,
            None => {
                let lowest = "SELECT MIN(seq) FROM outbox WHERE stream = $1";
                let row = tx.row(lowest, [stream.clone().into()]).await?;
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
    Ok(read)
}

const MARK_SENT: Text = differs(
    "UPDATE outbox SET sent_at = $1 WHERE id IN (SELECT value FROM json_each($2))",
    "UPDATE outbox SET sent_at = $1
     WHERE id IN (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text($2::jsonb))",
);

const TAKE_UNSENT: Text = differs(
    "SELECT id, stream, seq, body FROM outbox
     WHERE sent_at IS NULL AND seq IS NOT NULL
     AND stream NOT IN (SELECT value FROM json_each($2)) ORDER BY id LIMIT $1",
    "SELECT id, stream, seq, body FROM outbox
     WHERE sent_at IS NULL AND seq IS NOT NULL
     AND stream NOT IN (SELECT value FROM jsonb_array_elements_text($2::jsonb))
     ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
);

const NAME_STREAMS: &str = "
INSERT INTO streams (stream, last_seq)
SELECT DISTINCT stream, 0 FROM outbox WHERE seq IS NULL ORDER BY stream
ON CONFLICT DO NOTHING";

const NUMBER_NEW_ROWS: &str = "
UPDATE outbox SET seq = numbered.seq
FROM (
    SELECT o.id,
        s.last_seq + ROW_NUMBER() OVER (PARTITION BY o.stream ORDER BY o.id) AS seq
    FROM outbox o JOIN streams s ON s.stream = o.stream
    WHERE o.seq IS NULL
) AS numbered
WHERE outbox.id = numbered.id";

const REMEMBER_LAST_SEQ: &str = "
UPDATE streams SET last_seq = (SELECT MAX(seq) FROM outbox WHERE outbox.stream = streams.stream)
WHERE last_seq < (SELECT MAX(seq) FROM outbox WHERE outbox.stream = streams.stream)";
