//! RabbitMQ. The library below recovers nothing by itself: [`link`] makes connections again,
//! [`declare`] makes queues again, and what was in hand is delivered again by the broker.

mod address;
mod consume;
mod declare;
mod link;
mod publish;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use address::BadAddress;

use self::{
    address::Address,
    declare::Again,
    link::{Link, Role, unavailable},
    publish::{Publisher, is_not_found},
};
use crate::{Broker, Consumer, Depth, Publication, PublishError, RESEND_AFTER, Unavailable};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one virtual host; clones share its connections.
#[derive(Clone)]
pub struct AmqpBroker(Arc<Inner>);

struct Inner {
    publisher: Publisher,
    work: Link,
    again: Again,
    consumers: TaskTracker,
    resend_after: Duration,
}

impl AmqpBroker {
    /// Returns at once: connections are made, and made again, in the background, and until then
    /// every call answers that the broker is out of reach. `name` stands in the broker's list of
    /// connections. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// Where the URI is not one.
    pub fn connect(url: &str, name: &str) -> Result<Self, BadAddress> {
        Self::connect_resending(url, name, RESEND_AFTER)
    }

    /// The same, for a broker that is to be trusted for so long.
    ///
    /// # Errors
    /// Where the URI is not one.
    pub fn connect_resending(
        url: &str,
        name: &str,
        resend_after: Duration,
    ) -> Result<Self, BadAddress> {
        let address = Address::parse(url)?;
        let publisher = Publisher::new(Link::start(address.clone(), name, Role::Publish));
        let work = Link::start(address, name, Role::Work);
        Ok(Self(Arc::new(Inner {
            publisher,
            work,
            again: Again::default(),
            consumers: TaskTracker::new(),
            resend_after,
        })))
    }

    /// Whether both connections stand, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.0.work.is_up() && self.0.publisher.link().is_up()
    }

    /// Waits for the confirms and answers that are under way, and parts from the broker.
    /// Consumers and deliveries are to be dropped before: they are waited for, 5 s at most.
    pub async fn close(&self) {
        self.0.publisher.drain().await;
        self.0.consumers.close();
        let _ = timeout(CLOSE_TIMEOUT, self.0.consumers.wait()).await;
        tokio::join!(self.0.publisher.link().close(), self.0.work.close());
    }

    /// Once more after a declaration, where the broker does not know a queue that it should.
    async fn declared<'a, T>(
        &self,
        queue: &str,
        attempt: impl Fn() -> BoxFuture<'a, Result<lapin::Result<T>, Unavailable>> + Send + Sync,
    ) -> Result<T, Unavailable> {
        let seen = self.0.again.times();
        match in_time(attempt()).await? {
            Err(error) if is_not_found(&error) && declare::is_known_queue(queue) => {}
            answer => return answer.map_err(unavailable),
        }
        self.0.again.declare(&self.0.work, seen).await?;
        in_time(attempt()).await?.map_err(unavailable)
    }

    async fn try_depth(&self, queue: &str) -> Result<lapin::Result<Depth>, Unavailable> {
        let channel = self.0.work.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let shown = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(shown.map(|shown| Depth {
            ready: usize::try_from(shown.message_count()).unwrap_or(usize::MAX),
            consumers: usize::try_from(shown.consumer_count()).unwrap_or(usize::MAX),
        }))
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Unavailable("no answer in time".into())),
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.0.publisher.publish(&publication, &self.0.again, &self.0.work).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable> {
        let attempt = || -> BoxFuture<'_, _> {
            Box::pin(async {
                let channel = self.0.work.channel().await?;
                consume::start(channel, queue, prefetch, &self.0.consumers).await
            })
        };
        self.declared(queue, attempt).await
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable> {
        self.declared(queue, || Box::pin(self.try_depth(queue))).await
    }

    fn resend_after(&self) -> Duration {
        self.0.resend_after
    }
}
