//! Sends overtaken rows again: those that a subscriber lacks although it handled later ones long
//! ago, or although its queue has long been empty. A backlog is not a loss, and is never resent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_broker::{Destination, topology};
use carillon_service_kit::Stop;
use sea_orm::DbErr;

use crate::append::Outbox;

/// A subscriber that has not spoken for this long may be down; its rows wait.
const SILENCE: Duration = Duration::from_secs(15);
const MOST_AT_ONCE: i64 = 1_000;

/// Since when a subscriber's queue has shown nothing ready and a living consumer.
type Idle = HashMap<(String, String), Instant>;

impl Outbox {
    pub(crate) async fn send_again(self, stop: Stop) -> Result<(), DbErr> {
        let beat = (self.patience / 12).max(Duration::from_millis(20));
        let mut idle = Idle::new();
        while stop.sleep(beat).await {
            for (stream, subscriber, mark, below) in self.overtaken(&mut idle).await {
                let sent = self.send_rows_again(&stream, subscriber, mark, below).await?;
                if sent > 0 {
                    tracing::info!(stream, subscriber, sent, "overtaken events sent again");
                    idle.remove(&(stream, subscriber.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Each subscriber that lacks rows: its mark, and the seq up to which rows are overtaken.
    async fn overtaken(&self, idle: &mut Idle) -> Vec<(String, &'static str, i64, i64)> {
        let now = Instant::now();
        let mut found = Vec::new();
        for event in topology::EVENTS {
            if !topology::producers(event).contains(&self.producer) {
                continue;
            }
            let stream = topology::stream(self.producer, event);
            for subscriber in topology::subscribers(event, self.producer) {
                let key = (stream.clone(), (*subscriber).to_owned());
                let since = self.idle_since(&key, idle, now).await;
                let heard = self.heard.lock();
                let Some(hearing) = heard.get(&key) else { continue };
                if now.duration_since(hearing.at) > SILENCE {
                    continue;
                }
                let long_ago = |at: &Instant| now.duration_since(*at) >= self.patience;
                let passed = hearing.highest.iter().rev().find(|(at, _)| long_ago(at));
                let below = if since.as_ref().is_some_and(long_ago) {
                    i64::MAX
                } else {
                    passed.map_or(0, |(_, seq)| *seq)
                };
                if below > hearing.mark + 1 {
                    found.push((stream.clone(), *subscriber, hearing.mark, below));
                }
            }
        }
        found
    }

    async fn idle_since(
        &self,
        key: &(String, String),
        idle: &mut Idle,
        now: Instant,
    ) -> Option<Instant> {
        let queue = topology::event_queue(&key.1, &key.0);
        match self.broker.depth(&queue).await {
            Ok(depth) if depth.ready == 0 && depth.consumers > 0 => {
                Some(*idle.entry(key.clone()).or_insert(now))
            }
            _ => {
                idle.remove(key);
                None
            }
        }
    }

    /// To that subscriber's queue alone, the lowest first; only what was published long ago.
    async fn send_rows_again(
        &self,
        stream: &str,
        subscriber: &str,
        mark: i64,
        below: i64,
    ) -> Result<usize, DbErr> {
        let patience = i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX);
        let sent_before = self.clock.now_ms().saturating_sub(patience);
        let sql = "SELECT id, stream, seq, body FROM outbox
                   WHERE stream = $1 AND seq > $2 AND seq < $3 AND sent_at <= $4
                   ORDER BY seq LIMIT $5";
        let values =
            [stream.into(), mark.into(), below.into(), sent_before.into(), MOST_AT_ONCE.into()];
        let rows = self.read_rows(sql, values).await?;
        let queue = topology::event_queue(subscriber, stream);
        for (sent, row) in rows.iter().enumerate() {
            if self.publish(row, Destination::Queue(queue.clone())).await.is_err() {
                return Ok(sent);
            }
        }
        Ok(rows.len())
    }
}
