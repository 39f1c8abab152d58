//! How far subscribers are. A row leaves when every subscriber has passed it: a broker's confirm
//! proves nothing about who was bound.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_broker::{Delivery, gather, topology};
use carillon_contracts::events::v1::Mark;
use carillon_service_kit::{Stop, database::Sql as _};
use prost::Message as _;
use sea_orm::DbErr;

use crate::append::Outbox;

const RECONNECT: Duration = Duration::from_secs(1);
const MOST_AT_ONCE: usize = 100;

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
        let now = Instant::now();
        let mut newest: HashMap<(String, String), Mark> = HashMap::new();
        for delivery in &deliveries {
            let Ok(mark) = Mark::decode(delivery.body.clone()) else { continue };
            self.heard.note(&mark, now, self.patience);
            let key = (mark.stream.clone(), mark.subscriber.clone());
            let kept = newest.entry(key).or_default();
            if mark.mark >= kept.mark {
                *kept = mark;
            }
        }
        let tx = self.database.begin().await?;
        for mark in newest.into_values() {
            let Some((_, event)) = topology::parse_stream(&mark.stream) else { continue };
            let listed = topology::subscribers(event, self.producer);
            let moved = tx
                .run(
                    KEEP_HIGHEST,
                    [
                        mark.stream.clone().into(),
                        mark.subscriber.into(),
                        mark.mark.cast_signed().into(),
                        mark.highest.cast_signed().into(),
                    ],
                )
                .await?;
            if moved.rows_affected() > 0 {
                let listed = u32::try_from(listed.len()).unwrap_or(u32::MAX);
                tx.run(DROP_PASSED, [mark.stream.into(), listed.into()]).await?;
            }
        }
        tx.commit().await?;
        deliveries.into_iter().for_each(Delivery::ack);
        Ok(())
    }
}

const KEEP_HIGHEST: &str = "
INSERT INTO subscribers (stream, subscriber, mark, highest) VALUES ($1, $2, $3, $4)
ON CONFLICT (stream, subscriber) DO UPDATE SET
    mark = MAX(mark, excluded.mark), highest = MAX(highest, excluded.highest)
WHERE mark < excluded.mark OR highest < excluded.highest";

/// Nothing leaves before every listed subscriber was heard of.
const DROP_PASSED: &str = "
DELETE FROM outbox WHERE stream = $1 AND seq <= (
    SELECT CASE WHEN COUNT(*) >= $2 THEN MIN(mark) ELSE 0 END FROM subscribers WHERE stream = $1
)";
