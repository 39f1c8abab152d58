//! The broker of the embedded mode: queues in memory, with RabbitMQ's manners: unanswered
//! deliveries come again, full queues refuse, and what is bound nowhere is returned.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{
    Broker, Consumer, Delivery, Depth, Destination, Publication, PublishError, Receipt,
    Unavailable, topology,
};

/// Messages that a queue holds before it refuses more.
const MAX_LENGTH: usize = 20_000;

#[derive(Clone)]
pub struct MemoryBroker {
    queues: Arc<HashMap<String, Arc<Queue>>>,
    bindings: Arc<HashMap<String, Vec<Arc<Queue>>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Stored>,
    consumers: usize,
}

struct Stored {
    publication: Publication,
    delivery_count: u32,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        let mut queues: HashMap<String, Arc<Queue>> = HashMap::new();
        let mut bindings: HashMap<String, Vec<Arc<Queue>>> = HashMap::new();
        for (name, stream) in topology::queues() {
            let queue = Arc::new(Queue::default());
            if let Some(stream) = stream {
                bindings.entry(stream).or_default().push(Arc::clone(&queue));
            }
            queues.insert(name, queue);
        }
        Self { queues: Arc::new(queues), bindings: Arc::new(bindings) }
    }
}

impl MemoryBroker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every message that waits, as a wiped broker does.
    pub fn wipe(&self) {
        for queue in self.queues.values() {
            queue.lock().ready.clear();
        }
    }

    /// Forgets the messages that wait in one queue.
    pub fn purge(&self, queue: &str) -> Result<(), Unavailable> {
        self.queue(queue)?.lock().ready.clear();
        Ok(())
    }

    fn queue(&self, name: &str) -> Result<&Arc<Queue>, Unavailable> {
        self.queues.get(name).ok_or_else(|| Unavailable(format!("there is no queue {name}")))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let targets: &[Arc<Queue>] = match &publication.to {
            Destination::Event(stream) => {
                self.bindings.get(stream).map_or(&[], |queues| queues.as_slice())
            }
            Destination::Queue(name) => self.queues.get(name).map_or(&[], std::slice::from_ref),
        };
        if targets.is_empty() {
            return Err(PublishError::Returned(format!("{:?}", publication.to)));
        }
        if targets.iter().any(|queue| queue.lock().ready.len() >= MAX_LENGTH) {
            return Err(PublishError::Refused);
        }
        for queue in targets {
            let stored = Stored { publication: publication.clone(), delivery_count: 0 };
            queue.lock().ready.push_back(stored);
            queue.arrived.notify_one();
        }
        Ok(())
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable> {
        let queue = Arc::clone(self.queue(queue)?);
        queue.lock().consumers += 1;
        let credit = Arc::new(Semaphore::new(usize::from(prefetch.max(1))));
        Ok(Box::new(MemoryConsumer { queue, credit }))
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable> {
        let state = self.queue(queue)?.lock();
        Ok(Depth { ready: state.ready.len(), consumers: state.consumers })
    }
}

struct MemoryConsumer {
    queue: Arc<Queue>,
    credit: Arc<Semaphore>,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let credit = Arc::clone(&self.credit).acquire_owned().await.ok()?;
        loop {
            let arrived = self.queue.arrived.notified();
            let taken = self.queue.lock().ready.pop_front();
            if let Some(stored) = taken {
                return Some(deliver(Arc::clone(&self.queue), stored, credit));
            }
            arrived.await;
        }
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.queue.lock().consumers -= 1;
    }
}

fn deliver(queue: Arc<Queue>, stored: Stored, credit: OwnedSemaphorePermit) -> Delivery {
    let Stored { publication, delivery_count } = stored;
    let (body, headers) = (publication.body.clone(), publication.headers.clone());
    let receipt = MemoryReceipt { queue, publication, delivery_count, _credit: credit };
    Delivery::new(body, headers, delivery_count, Box::new(receipt))
}

struct MemoryReceipt {
    queue: Arc<Queue>,
    publication: Publication,
    delivery_count: u32,
    _credit: OwnedSemaphorePermit,
}

impl Receipt for MemoryReceipt {
    fn ack(self: Box<Self>) {}

    fn requeue(self: Box<Self>) {
        let stored =
            Stored { publication: self.publication, delivery_count: self.delivery_count + 1 };
        self.queue.lock().ready.push_front(stored);
        self.queue.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(body: &'static str) -> Publication {
        Publication {
            to: Destination::Queue(topology::job_queue("sms", "bulk")),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    async fn consumer(broker: &MemoryBroker, prefetch: u16) -> Box<dyn Consumer> {
        broker.consume("jobs.sms.bulk", prefetch).await.expect("the queue exists")
    }

    #[tokio::test]
    async fn an_unanswered_delivery_comes_again_with_a_higher_count() {
        let broker = MemoryBroker::new();
        broker.publish(job("a")).await.expect("published");
        let mut consumer = consumer(&broker, 1).await;
        drop(consumer.next().await.expect("delivered"));
        let again = consumer.next().await.expect("delivered again");
        assert_eq!((again.delivery_count, &again.body[..]), (1, &b"a"[..]));
        again.ack();
        assert_eq!(
            broker.depth("jobs.sms.bulk").await.expect("depth"),
            Depth { ready: 0, consumers: 1 }
        );
    }

    #[tokio::test]
    async fn prefetch_limits_what_is_in_hand() {
        let broker = MemoryBroker::new();
        broker.publish(job("a")).await.expect("published");
        broker.publish(job("b")).await.expect("published");
        let mut consumer = consumer(&broker, 1).await;
        let first = consumer.next().await.expect("delivered");
        let waiting = tokio::time::timeout(Duration::from_millis(20), consumer.next()).await;
        assert!(waiting.is_err());
        first.ack();
        assert!(consumer.next().await.is_some());
    }

    #[tokio::test]
    async fn an_event_reaches_every_subscriber_and_an_unbound_one_is_returned() {
        let broker = MemoryBroker::new();
        let event = |stream: &str| Publication {
            to: Destination::Event(stream.to_owned()),
            headers: Vec::new(),
            body: "e".into(),
        };
        broker.publish(event("scheduler/run.due")).await.expect("published");
        for subscriber in [topology::SEGMENT_EVALUATOR, topology::CAMPAIGN_API] {
            let queue = topology::event_queue(subscriber, "scheduler/run.due");
            assert_eq!(broker.depth(&queue).await.expect("depth").ready, 1);
        }
        let returned = broker.publish(event("scheduler/nothing")).await;
        assert!(matches!(returned, Err(PublishError::Returned(_))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let broker = MemoryBroker::new();
        for _ in 0..MAX_LENGTH {
            broker.publish(job("a")).await.expect("published");
        }
        assert!(matches!(broker.publish(job("b")).await, Err(PublishError::Refused)));
    }
}
