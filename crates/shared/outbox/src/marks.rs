//! How far subscribers are. A row leaves when every subscriber has passed it: a broker's confirm
//! proves nothing about who was bound. The replicas of a producer share the messages of the marks
//! queue, so what was heard is kept in the database.

use std::{collections::BTreeMap, time::Duration};

use carillon_broker::{Delivery, gather, topology};
use carillon_contracts::events::v1::Mark;
use carillon_service_kit::{
    Stop,
    database::{Sql, Text, differs},
    metrics::{self, MARKS_UNREADABLE},
};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::append::Outbox;

const RECONNECT: Duration = Duration::from_secs(1);
const MOST_AT_ONCE: usize = 100;
/// A subscriber that says nothing new is written down again after this time only.
const HEARD_AGAIN_MS: i64 = 1_000;
/// Samples of what a subscriber had handled, within the outbox's patience.
const SAMPLES: i64 = 12;

impl Outbox {
    pub(crate) async fn hear_marks(self, stop: Stop) -> Result<(), DbErr> {
        let queue = topology::marks_queue(self.producer);
        while !stop.is_stopping() {
            let Ok(mut consumer) = self.broker.consume(&queue, 200).await else {
                stop.sleep(RECONNECT).await;
                continue;
            };
            loop {
                let first = tokio::select! {
                    () = stop.requested() => return Ok(()),
                    delivery = consumer.next() => delivery,
                };
                let Some(first) = first else { break };
                self.apply_marks(gather(consumer.as_mut(), first, MOST_AT_ONCE).await).await?;
            }
        }
        Ok(())
    }

    async fn apply_marks(&self, deliveries: Vec<Delivery>) -> Result<(), DbErr> {
        // In one order everywhere, so that replicas wait for each other and never in a circle.
        let mut newest: BTreeMap<(String, String), Mark> = BTreeMap::new();
        for delivery in &deliveries {
            let mark = match Mark::decode(delivery.body.clone()) {
                Ok(mark) => mark,
                Err(error) => {
                    tracing::warn!(%error, "a mark that cannot be read; dropped");
                    metrics::count(MARKS_UNREADABLE, &[("service", self.producer)], 1);
                    continue;
                }
            };
            if !self.knows(&mark) {
                tracing::warn!(
                    stream = mark.stream,
                    subscriber = mark.subscriber,
                    "a mark of a stranger"
                );
                continue;
            }
            let kept = newest.entry((mark.stream.clone(), mark.subscriber.clone())).or_default();
            if (mark.mark, mark.highest) >= (kept.mark, kept.highest) {
                *kept = mark;
            }
        }
        let tx = self.database.begin().await?;
        for mark in newest.into_values() {
            self.apply_mark(&tx, mark).await?;
        }
        tx.commit().await?;
        deliveries.into_iter().for_each(Delivery::ack);
        Ok(())
    }

    /// Whether the mark is of one of this producer's streams and of one who should hear it.
    fn knows(&self, mark: &Mark) -> bool {
        topology::parse_stream(&mark.stream).is_some_and(|(producer, event)| {
            producer == self.producer
                && topology::subscribers(event, producer).contains(&mark.subscriber.as_str())
        })
    }

    async fn apply_mark(&self, tx: &DatabaseTransaction, mark: Mark) -> Result<(), DbErr> {
        let Mark { stream, subscriber, mark, highest } = mark;
        let (mark, highest) = (mark.cast_signed(), highest.cast_signed());
        let now = self.clock.now_ms();
        let key = || [stream.clone().into(), subscriber.clone().into()];
        let known: Option<i64> = match tx.row(KNOWN, key()).await? {
            Some(row) => row.try_get_by_index(0)?,
            None => None,
        };
        let has_forgotten = (mark, highest) == (0, 0) && known.is_some_and(|known| known > 0);
        if has_forgotten {
            tracing::error!(stream, subscriber, known, "its mark is gone; was a database lost?");
            tx.run(FORGET, key()).await?;
        }
        let [a, b] = key();
        let values = [a, b, mark.into(), highest.into(), now.into(), (now - HEARD_AGAIN_MS).into()];
        let changed = tx.run(KEEP_HIGHEST, values).await?.rows_affected() > 0;
        if has_forgotten || known.is_none() {
            self.want_documents(tx, &stream, &subscriber).await?;
        }
        if !changed {
            return Ok(());
        }
        let [a, b] = key();
        let sampled = now - self.patience_ms() / SAMPLES;
        tx.run(SAMPLE, [a, b, now.into(), highest.into(), sampled.into()]).await?;
        let [a, b] = key();
        tx.run(FORGET_SAMPLES, [a, b, (now - self.patience_ms()).into()]).await?;
        drop_passed(tx, &stream).await
    }

    pub(crate) fn patience_ms(&self) -> i64 {
        i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The seq up to which every listed subscriber has passed a stream: 0 before each was heard of.
pub(crate) async fn passed_by_all(connection: &impl Sql, stream: &str) -> Result<i64, DbErr> {
    let marks = marks_of(connection, stream).await?;
    Ok(marks.into_iter().map(|(_, mark)| mark).min().unwrap_or(0))
}

/// The listed subscribers of a stream and the seq that each has passed: 0 before it was heard of.
pub(crate) async fn marks_of(
    connection: &impl Sql,
    stream: &str,
) -> Result<Vec<(&'static str, i64)>, DbErr> {
    let Some((producer, event)) = topology::parse_stream(stream) else { return Ok(Vec::new()) };
    let sql = "SELECT subscriber, mark FROM subscribers WHERE stream = $1";
    let mut marks: BTreeMap<String, i64> = BTreeMap::new();
    for row in connection.rows(sql, [stream.into()]).await? {
        marks.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    }
    let listed = topology::subscribers(event, producer).iter();
    Ok(listed.map(|name| (*name, marks.get(*name).copied().unwrap_or(0))).collect())
}

/// Rows that another replica holds for publishing leave with a later mark.
pub(crate) async fn drop_passed(tx: &DatabaseTransaction, stream: &str) -> Result<(), DbErr> {
    let passed = passed_by_all(tx, stream).await?;
    tx.run(DROP_PASSED, [stream.into(), passed.into()]).await.map(|_| ())
}

const KNOWN: &str = "SELECT mark FROM subscribers WHERE stream = $1 AND subscriber = $2";

/// It handles what is kept from the lowest seq on.
const FORGET: &str = "
UPDATE subscribers SET mark = 0, highest = 0, overtaken = 0, again_seq = 0, again_at = NULL
WHERE stream = $1 AND subscriber = $2";

const KEEP_HIGHEST: &str = "
INSERT INTO subscribers (stream, subscriber, mark, highest, heard_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, subscriber) DO UPDATE SET
    mark = CASE WHEN excluded.mark > subscribers.mark
        THEN excluded.mark ELSE subscribers.mark END,
    highest = CASE WHEN excluded.highest > subscribers.highest
        THEN excluded.highest ELSE subscribers.highest END,
    heard_at = excluded.heard_at
WHERE subscribers.mark < excluded.mark OR subscribers.highest < excluded.highest
    OR subscribers.heard_at <= $6";

/// What was handled by when: a new sample where the last one is not quite new.
const SAMPLE: &str = "
INSERT INTO heard (stream, subscriber, heard_at, highest)
SELECT $1, $2, $3, $4 WHERE NOT EXISTS (
    SELECT 1 FROM heard WHERE stream = $1 AND subscriber = $2 AND (highest >= $4 OR heard_at > $5)
) ON CONFLICT DO NOTHING";

/// The newest sample that is old enough stays: it says what was handled by then.
const FORGET_SAMPLES: &str = "
DELETE FROM heard WHERE stream = $1 AND subscriber = $2 AND heard_at < (
    SELECT MAX(h.heard_at) FROM heard h
    WHERE h.stream = $1 AND h.subscriber = $2 AND h.heard_at <= $3
)";

const DROP_PASSED: Text = differs(
    "DELETE FROM outbox WHERE stream = $1 AND seq <= $2",
    "DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE stream = $1 AND seq <= $2 FOR UPDATE SKIP LOCKED)",
);
