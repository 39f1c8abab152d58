//! Each event is handled once, whatever the broker repeats and however many replicas listen, and
//! the mark says how far they are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_broker::{Consumer, Delivery, Destination, Publication, gather, topology};
use carillon_contracts::events::v1::{Event, Mark};
use carillon_service_kit::{Stop, database::is_transient, faults};
use prost::Message as _;
use sea_orm::DbErr;

use crate::{
    headers::Position,
    inbox,
    parked::{self, NewParked},
    subscriber::{Handler, HandlerError, Subscriber, apply},
};

const MOST_AT_ONCE: usize = 100;
const PREFETCH: u16 = 200;
/// Deliveries after which an event that cannot be handled is parked.
const POISON: u32 = 5;
/// While the database cannot be reached, what is in hand is kept this long, so that the broker does
/// not count deliveries against it; far less than its consumer timeout.
const KEEP_IN_HAND: Duration = Duration::from_secs(120);
const BACK_OFF: Duration = Duration::from_millis(50);
const BACK_OFF_MOST: Duration = Duration::from_secs(5);

/// One stream as one replica of a subscriber hears it.
pub(crate) struct Listening {
    pub subscriber: Subscriber,
    pub stream: String,
    pub producer: &'static str,
    /// Someone waits for the mark: it is published at once, not only every few seconds.
    pub urgent: bool,
    pub handler: Arc<dyn Handler>,
}

struct Counted {
    position: Position,
    delivery: Delivery,
}

impl Listening {
    pub(crate) async fn run(self: Arc<Self>, stop: Stop) -> Result<(), DbErr> {
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
                    let Subscriber { database, clock, .. } = &self.subscriber;
                    inbox::prune(database, &self.stream, clock.now_ms()).await?;
                    self.publish_mark().await?;
                    continue;
                }
                delivery = consumer.next() => delivery,
            };
            let Some(first) = first else { return Ok(()) };
            self.handle_all(gather(consumer, first, MOST_AT_ONCE).await, stop).await?;
            if self.urgent {
                self.publish_mark().await?;
            }
        }
    }

    /// All in one transaction; if one fails, each by itself, so that the others are not held up.
    async fn handle_all(&self, deliveries: Vec<Delivery>, stop: &Stop) -> Result<(), DbErr> {
        let mut counted = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match Position::of(&delivery) {
                Some(position) => counted.push(Counted { position, delivery }),
                None => self.set_aside(delivery).await,
            }
        }
        match self.persist(&counted, stop).await {
            Ok(()) => {
                counted.into_iter().for_each(|one| one.delivery.ack());
                self.handler.committed();
                return Ok(());
            }
            Err(HandlerError::Database(error)) if is_transient(&error) => return Err(error),
            Err(_) => {}
        }
        for one in counted {
            match self.persist(std::slice::from_ref(&one), stop).await {
                Ok(()) => one.delivery.ack(),
                // Nothing is wrong with the event: what is in hand is delivered again.
                Err(HandlerError::Database(error)) if is_transient(&error) => return Err(error),
                Err(error) => self.refuse(one, &error).await?,
            }
        }
        self.handler.committed();
        Ok(())
    }

    /// Tries again as long as only the database is at fault.
    async fn persist(&self, counted: &[Counted], stop: &Stop) -> Result<(), HandlerError> {
        let (begun, mut rest) = (Instant::now(), BACK_OFF);
        loop {
            let error = match self.transact(counted).await {
                Err(HandlerError::Database(error)) if is_transient(&error) => error,
                done => return done,
            };
            if begun.elapsed() >= KEEP_IN_HAND || !stop.sleep(rest).await {
                return Err(error.into());
            }
            tracing::warn!(stream = self.stream, %error, "events not handled; trying again");
            rest = (rest * 2).min(BACK_OFF_MOST);
        }
    }

    async fn transact(&self, counted: &[Counted]) -> Result<(), HandlerError> {
        let Some(floor) = counted.iter().map(|one| one.position.floor).min() else {
            return Ok(());
        };
        let tx = self.subscriber.database.begin().await?;
        let mark = inbox::lock_mark(&tx, &self.stream, floor).await?;
        let above: Vec<i64> =
            counted.iter().map(|one| one.position.seq).filter(|seq| *seq > mark).collect();
        let now = self.subscriber.clock.now_ms();
        let mut new = inbox::note(&tx, &self.stream, &above, now).await?;
        let mut events = Vec::with_capacity(new.len());
        for one in counted {
            // Removed, so that one which was delivered twice at once is handled once.
            if new.remove(&one.position.seq) {
                let event = Event::decode(one.delivery.body.clone())
                    .map_err(|error| HandlerError::Event(error.to_string()))?;
                events.push((one.position.seq, event));
            }
        }
        apply(&*self.handler, &tx, &self.stream, &events).await?;
        inbox::advance(&tx, &self.stream).await?;
        faults::commit(tx, "inbox.handle").await?;
        Ok(())
    }

    async fn refuse(&self, one: Counted, error: &HandlerError) -> Result<(), DbErr> {
        let Counted { position, delivery } = one;
        let tries = delivery.delivery_count + 1;
        if tries < POISON {
            tracing::warn!(stream = self.stream, seq = position.seq, tries, %error, "event not handled; trying again");
            tokio::time::sleep(BACK_OFF * tries).await;
            delivery.requeue();
            return Ok(());
        }
        tracing::error!(stream = self.stream, seq = position.seq, %error, "event parked");
        let now_ms = self.subscriber.clock.now_ms();
        let tx = self.subscriber.database.begin().await?;
        let mark = inbox::lock_mark(&tx, &self.stream, position.floor).await?;
        let new = position.seq > mark
            && !inbox::note(&tx, &self.stream, &[position.seq], now_ms).await?.is_empty();
        if new {
            let parked = NewParked {
                source: &self.stream,
                seq: Some(position.seq),
                body: &delivery.body,
                error: &error.to_string(),
                now_ms,
            };
            parked.insert(&tx).await?;
        }
        inbox::advance(&tx, &self.stream).await?;
        tx.commit().await?;
        delivery.ack();
        Ok(())
    }

    /// An event without a position is no better at its next delivery, and no mark waits for it.
    async fn set_aside(&self, delivery: Delivery) {
        let Subscriber { database, clock, .. } = &self.subscriber;
        let (stream, body, why) = (&self.stream, &delivery.body, parked::UNNUMBERED);
        match parked::park_unnumbered(database, clock, stream, body, why).await {
            Ok(()) => {
                tracing::error!(stream = self.stream, "an event without a position; parked");
                delivery.ack();
            }
            Err(error) => {
                tracing::warn!(stream = self.stream, %error, "an event without a position; not parked yet");
                tokio::time::sleep(BACK_OFF).await;
                delivery.requeue();
            }
        }
    }

    async fn publish_mark(&self) -> Result<(), DbErr> {
        let Subscriber { name, database, broker, .. } = &self.subscriber;
        let (mark, highest) = inbox::position(database.reader(), &self.stream).await?;
        let mark = Mark {
            stream: self.stream.clone(),
            subscriber: (*name).into(),
            mark: mark.cast_unsigned(),
            highest: highest.cast_unsigned(),
        };
        let publication = Publication {
            to: Destination::Queue(topology::marks_queue(self.producer)),
            headers: Vec::new(),
            body: mark.encode_to_vec().into(),
        };
        if let Err(error) = broker.publish(publication).await {
            tracing::debug!(%error, "mark not published; the next one says as much");
        }
        Ok(())
    }
}
