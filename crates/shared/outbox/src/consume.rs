//! A subscriber's side: each event is handled once, whatever the broker repeats, and the mark
//! says how far it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_broker::{Broker, Consumer, Delivery, Destination, Publication, gather, topology};
use carillon_contracts::events::v1::{Event, Mark};
use carillon_service_kit::{
    Clock, Database, Stop,
    database::{Sql as _, is_transient},
};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::headers::Position;

const MOST_AT_ONCE: usize = 100;
const PREFETCH: u16 = 200;
const MARK_EVERY: Duration = Duration::from_secs(5);
const INBOX_KEEP_MS: i64 = 10 * 60 * 1000;
/// Deliveries after which an event that cannot be handled is parked.
const POISON: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The event itself is wrong; trying again will not help.
    #[error("{0}")]
    Event(String),
}

/// Applies events of one type. Called inside the transaction that also notes the event as handled.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError>;

    /// Called after the commit of one or more events.
    fn committed(&self) {}
}

/// What a service hears with.
#[derive(Clone)]
pub struct Subscriber {
    name: &'static str,
    database: Database,
    broker: Arc<dyn Broker>,
    clock: Clock,
    mark_every: Duration,
}

impl Subscriber {
    pub fn new(
        name: &'static str,
        database: Database,
        broker: Arc<dyn Broker>,
        clock: Clock,
    ) -> Self {
        Self { name, database, broker, clock, mark_every: MARK_EVERY }
    }

    /// Publishes marks more often: for tests.
    #[must_use]
    pub fn with_mark_every(mut self, interval: Duration) -> Self {
        self.mark_every = interval;
        self
    }

    /// Hears one event type, from each of its producers.
    pub fn spawn(&self, event: &str, handler: Arc<dyn Handler>, stop: &Stop) {
        for producer in topology::producers(event) {
            if !topology::subscribers(event, producer).contains(&self.name) {
                continue;
            }
            let listening = Listening {
                stream: topology::stream(producer, event),
                producer,
                urgent: topology::is_urgent(event),
                subscriber: self.clone(),
                handler: Arc::clone(&handler),
            };
            let (listening, stopping) = (Arc::new(listening), stop.clone());
            stop.keep("event consumer", move || Arc::clone(&listening).run(stopping.clone()));
        }
    }
}

struct Listening {
    subscriber: Subscriber,
    stream: String,
    producer: &'static str,
    /// Someone waits for the mark: it is published at once, not only every few seconds.
    urgent: bool,
    handler: Arc<dyn Handler>,
}

struct Counted {
    position: Position,
    delivery: Delivery,
}

impl Listening {
    async fn run(self: Arc<Self>, stop: Stop) -> Result<(), DbErr> {
        let queue = topology::event_queue(self.subscriber.name, &self.stream);
        while !stop.is_stopping() {
            let Ok(mut consumer) = self.subscriber.broker.consume(&queue, PREFETCH).await else {
                stop.sleep(Duration::from_secs(1)).await;
                continue;
            };
            self.publish_mark().await?;
            self.hear(consumer.as_mut(), &stop).await?;
        }
        Ok(())
    }

    async fn hear(&self, consumer: &mut dyn Consumer, stop: &Stop) -> Result<(), DbErr> {
        let mut beat = tokio::time::interval(self.subscriber.mark_every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                () = stop.requested() => return Ok(()),
                _ = beat.tick() => {
                    self.prune_inbox().await?;
                    self.publish_mark().await?;
                    continue;
                }
                delivery = consumer.next() => delivery,
            };
            let Some(first) = first else { return Ok(()) };
            self.handle_all(gather(consumer, first, MOST_AT_ONCE).await).await?;
            if self.urgent {
                self.publish_mark().await?;
            }
        }
    }

    /// All in one transaction; if one fails, each by itself, so that the others are not held up.
    async fn handle_all(&self, deliveries: Vec<Delivery>) -> Result<(), DbErr> {
        let mut counted: Vec<Counted> = deliveries
            .into_iter()
            .filter_map(|delivery| match Position::of(&delivery) {
                Some(position) => Some(Counted { position, delivery }),
                None => {
                    tracing::error!(stream = self.stream, "an event without a position; dropped");
                    delivery.ack();
                    None
                }
            })
            .collect();
        if self.transact(&counted).await.is_ok() {
            counted.into_iter().for_each(|one| one.delivery.ack());
            self.handler.committed();
            return Ok(());
        }
        for one in counted.drain(..) {
            match self.transact(std::slice::from_ref(&one)).await {
                Ok(()) => one.delivery.ack(),
                // Nothing is wrong with the event: what is in hand is delivered again.
                Err(HandlerError::Database(error)) if is_transient(&error) => return Err(error),
                Err(error) => self.refuse(one, &error).await?,
            }
        }
        self.handler.committed();
        Ok(())
    }

    async fn transact(&self, counted: &[Counted]) -> Result<(), HandlerError> {
        let tx = self.subscriber.database.begin().await?;
        for one in counted {
            if !self.note(&tx, &one.position).await? {
                continue;
            }
            let event = Event::decode(one.delivery.body.clone())
                .map_err(|error| HandlerError::Event(error.to_string()))?;
            self.handler.handle(&tx, &event).await?;
        }
        self.advance(&tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes the event as handled; answers whether it was new.
    async fn note(&self, tx: &DatabaseTransaction, position: &Position) -> Result<bool, DbErr> {
        tx.run(
            "INSERT INTO marks (stream, mark, highest) VALUES ($1, $2, $2)
             ON CONFLICT (stream) DO NOTHING",
            [self.stream.clone().into(), (position.floor - 1).into()],
        )
        .await?;
        let noted = tx
            .run(
                "INSERT INTO inbox (stream, seq, handled_at)
                 SELECT $1, $2, $3 WHERE $2 > (SELECT mark FROM marks WHERE stream = $1)
                 ON CONFLICT DO NOTHING",
                [
                    self.stream.clone().into(),
                    position.seq.into(),
                    self.subscriber.clock.now_ms().into(),
                ],
            )
            .await?;
        Ok(noted.rows_affected() > 0)
    }

    async fn advance(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        tx.run(ADVANCE_MARK, [self.stream.clone().into()]).await.map(|_| ())
    }

    async fn refuse(&self, one: Counted, error: &HandlerError) -> Result<(), DbErr> {
        let Counted { position, delivery } = one;
        let tries = delivery.delivery_count + 1;
        if tries < POISON {
            tracing::warn!(stream = self.stream, seq = position.seq, tries, %error, "event not handled; trying again");
            tokio::time::sleep(Duration::from_millis(50) * tries).await;
            delivery.requeue();
            return Ok(());
        }
        tracing::error!(stream = self.stream, seq = position.seq, %error, "event parked");
        let tx = self.subscriber.database.begin().await?;
        if self.note(&tx, &position).await? {
            tx.run(
                "INSERT INTO parked (stream, seq, body, error, parked_at) VALUES ($1, $2, $3, $4, $5)",
                [
                    self.stream.clone().into(),
                    position.seq.into(),
                    delivery.body.to_vec().into(),
                    error.to_string().into(),
                    self.subscriber.clock.now_ms().into(),
                ],
            )
            .await?;
        }
        self.advance(&tx).await?;
        tx.commit().await?;
        delivery.ack();
        Ok(())
    }

    async fn publish_mark(&self) -> Result<(), DbErr> {
        let sql = "SELECT mark, highest FROM marks WHERE stream = $1";
        let row = self.subscriber.database.reader().row(sql, [self.stream.clone().into()]).await?;
        let (mark, highest): (i64, i64) = match row {
            Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            None => (0, 0),
        };
        let mark = Mark {
            stream: self.stream.clone(),
            subscriber: self.subscriber.name.into(),
            mark: mark.cast_unsigned(),
            highest: highest.cast_unsigned(),
        };
        let publication = Publication {
            to: Destination::Queue(topology::marks_queue(self.producer)),
            headers: Vec::new(),
            body: mark.encode_to_vec().into(),
        };
        if let Err(error) = self.subscriber.broker.publish(publication).await {
            tracing::debug!(%error, "mark not published; the next one says as much");
        }
        Ok(())
    }

    async fn prune_inbox(&self) -> Result<(), DbErr> {
        let before = self.subscriber.clock.now_ms() - INBOX_KEEP_MS;
        let oldest = "SELECT handled_at FROM inbox WHERE stream = $1 ORDER BY seq LIMIT 1";
        let reader = self.subscriber.database.reader();
        let oldest = reader.row(oldest, [self.stream.clone().into()]).await?;
        let oldest = oldest.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
        if oldest.is_none_or(|handled_at| handled_at >= before) {
            return Ok(());
        }
        let tx = self.subscriber.database.begin().await?;
        tx.run(PRUNE_INBOX, [self.stream.clone().into(), before.into()]).await?;
        tx.commit().await
    }
}

/// Over the unbroken rows just above it: up to the first gap.
const ADVANCE_MARK: &str = "
UPDATE marks SET
    highest = MAX(highest, COALESCE((SELECT MAX(seq) FROM inbox WHERE stream = $1), 0)),
    mark = COALESCE((
        SELECT MAX(run.seq) FROM (
            SELECT seq, seq - ROW_NUMBER() OVER (ORDER BY seq) AS start
            FROM inbox WHERE stream = $1 AND seq > marks.mark
        ) AS run WHERE run.start = marks.mark
    ), mark)
WHERE stream = $1";

/// Up to the first that is not yet old enough.
const PRUNE_INBOX: &str = "
DELETE FROM inbox WHERE stream = $1
    AND seq <= (SELECT mark FROM marks WHERE stream = $1)
    AND seq < COALESCE(
        (SELECT seq FROM inbox WHERE stream = $1 AND handled_at >= $2 ORDER BY seq LIMIT 1),
        9223372036854775807)";
