//! Exchanges, queues and bindings, made so that making them again changes nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::Mutex, time::timeout};

use super::link::{Link, Live, unavailable};
use crate::{Destination, Unavailable, topology};

pub(super) const EVENTS: &str = "carillon.events";
pub(super) const JOBS: &str = "carillon.jobs";
/// The broker's own exchange, by which every queue is reached under its name.
const DEFAULT: &str = "";

/// Poison is the consumer's to judge by the delivery count, and to set aside in its own database. A
/// dead-letter queue behind a limit of the broker's would do harm: a consumer that dies counts for
/// its whole prefetch, so a few deaths would set aside hundreds of messages with nothing wrong with
/// them, of which the marks and the release send copies anyway. Later brokers give up after 20
/// unless told otherwise.
const DELIVERY_LIMIT: i64 = 1_000_000;
/// A producer keeps the highest mark and hears newer ones every few seconds.
const MARKS_KEPT: i64 = 10_000;
const AT_ONCE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);

/// The exchange and the routing key of a destination.
pub(super) fn route(to: &Destination) -> (&'static str, &str) {
    match to {
        Destination::Event(stream) => (EVENTS, stream),
        Destination::Queue(name) if is_job(name) => (JOBS, name),
        Destination::Queue(name) => (DEFAULT, name),
    }
}

/// Whether it should exist, so that its absence is worth a declaration.
pub(super) fn is_known(to: &Destination) -> bool {
    match to {
        Destination::Event(wanted) => {
            topology::queues().iter().any(|(_, stream)| stream.as_ref() == Some(wanted))
        }
        Destination::Queue(name) => is_known_queue(name),
    }
}

pub(super) fn is_known_queue(wanted: &str) -> bool {
    topology::queues().iter().any(|(name, _)| name == wanted)
}

fn is_job(queue: &str) -> bool {
    queue.starts_with("jobs.")
}

fn is_marks(queue: &str) -> bool {
    queue.starts_with("marks.")
}

pub(super) async fn all(live: &Live) -> lapin::Result<()> {
    let channel = live.channel().await?;
    for exchange in [EVENTS, JOBS] {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default())
            .await?;
    }
    stream::iter(topology::queues())
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |(name, stream)| async move {
            // On a channel of its own: the broker works through a channel one by one.
            let channel = live.channel().await?;
            declare(&channel, &name, stream.as_deref()).await?;
            channel.close(200, "OK".into()).await
        })
        .await?;
    channel.close(200, "OK".into()).await
}

async fn declare(channel: &Channel, name: &str, stream: Option<&str>) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.into(), options, arguments(name)).await?;
    let (exchange, key) = match stream {
        Some(stream) => (EVENTS, stream),
        None if is_job(name) => (JOBS, name),
        None => return Ok(()),
    };
    let options = QueueBindOptions::default();
    channel
        .queue_bind(name.into(), exchange.into(), key.into(), options, FieldTable::default())
        .await
}

/// Fixed for ever: a queue that stands refuses to be declared with others.
fn arguments(queue: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    if is_marks(queue) {
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MARKS_KEPT));
        return arguments;
    }
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    // A limit may be set by policy; what does not fit is refused, and never dropped.
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

/// Declares again what somebody found missing: once for all who find it at the same time.
#[derive(Default)]
pub(super) struct Again {
    times: AtomicU64,
    declaring: Mutex<()>,
}

impl Again {
    /// To be read before the attempt that may find something missing.
    pub(super) fn times(&self) -> u64 {
        self.times.load(Ordering::Acquire)
    }

    pub(super) async fn declare(&self, link: &Link, seen: u64) -> Result<(), Unavailable> {
        let _declaring = self.declaring.lock().await;
        if self.times() != seen {
            return Ok(());
        }
        let live = link.live().await?;
        match timeout(TIMEOUT, all(&live)).await {
            Ok(declared) => declared.map_err(unavailable)?,
            Err(_) => return Err(Unavailable("the topology was not declared in time".into())),
        }
        tracing::warn!("exchanges or queues were missing on the broker; declared again");
        self.times.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_events_and_marks_are_reached_each_in_its_way() {
        let queue = |name: &str| Destination::Queue(name.to_owned());
        assert_eq!(route(&queue("jobs.sms.bulk")), (JOBS, "jobs.sms.bulk"));
        assert_eq!(route(&queue("marks.billing")), (DEFAULT, "marks.billing"));
        let event = Destination::Event("scheduler/run.due".into());
        assert_eq!(route(&event), (EVENTS, "scheduler/run.due"));
    }

    #[test]
    fn only_what_stands_in_the_topology_is_known() {
        for (name, stream) in topology::queues() {
            assert!(is_known(&Destination::Queue(name)));
            assert!(stream.is_none_or(|stream| is_known(&Destination::Event(stream))));
        }
        assert!(!is_known(&Destination::Event("scheduler/nothing".into())));
        assert!(!is_known(&Destination::Queue("jobs.pigeon.bulk".into())));
    }
}
