//! The broker port and its implementations. A broker only transports: it may lose, repeat and
//! reorder, and it never knows a payload.

pub mod amqp;
pub mod memory;
pub mod topology;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// How long a publisher waits for the broker's confirm.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Unless it is set otherwise.
pub const RESEND_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Publication {
    pub to: Destination,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Every queue bound to the event type.
    Event(String),
    /// One queue.
    Queue(String),
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No queue took it: nothing is bound there.
    #[error("nothing is bound to {0}")]
    Returned(String),
    /// A queue is full.
    #[error("refused by a full queue")]
    Refused,
    #[error("the broker is out of reach: {0}")]
    Unavailable(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the broker is out of reach: {0}")]
pub struct Unavailable(pub String);

/// What a queue shows from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub ready: usize,
    pub consumers: usize,
}

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Returns once every queue that it was routed to has confirmed it.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// At most `prefetch` deliveries are unacknowledged at a time.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable>;

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable>;

    /// What a consumer has lacked for so long, while it had later ones or nothing, is taken for lost
    /// and sent again.
    fn resend_after(&self) -> Duration {
        RESEND_AFTER
    }
}

#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; `None` when the broker ended the subscription.
    async fn next(&mut self) -> Option<Delivery>;
}

/// The delivery in hand, and those that are there already: `most` in all, without waiting for any.
pub async fn gather(consumer: &mut dyn Consumer, first: Delivery, most: usize) -> Vec<Delivery> {
    let mut deliveries = vec![first];
    while deliveries.len() < most {
        match tokio::time::timeout(Duration::ZERO, consumer.next()).await {
            Ok(Some(delivery)) => deliveries.push(delivery),
            _ => break,
        }
    }
    deliveries
}

/// A message in hand. Dropped without an answer, it is delivered again.
pub struct Delivery {
    pub body: Bytes,
    pub headers: Vec<(String, String)>,
    /// How often it was delivered before.
    pub delivery_count: u32,
    receipt: Option<Box<dyn Receipt>>,
}

/// The broker's side of a delivery.
pub trait Receipt: Send + Sync {
    fn ack(self: Box<Self>);
    fn requeue(self: Box<Self>);
}

impl Delivery {
    pub fn new(
        body: Bytes,
        headers: Vec<(String, String)>,
        delivery_count: u32,
        receipt: Box<dyn Receipt>,
    ) -> Self {
        Self { body, headers, delivery_count, receipt: Some(receipt) }
    }

    /// Done with: it will not be delivered again, unless the broker forgets the answer.
    pub fn ack(mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.ack();
        }
    }

    /// Not done with: delivered again, with a higher count.
    pub fn requeue(self) {
        drop(self);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.requeue();
        }
    }
}
