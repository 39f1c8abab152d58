//! Publishers. A channel carries one publication at a time: the broker confirms many at once, in
//! no order, and says of a returned one only that it comes before its confirm, so that on a
//! shared channel a confirm may be taken for another's. Channels are cheap; many are in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    declare::{self, Again},
    link::Link,
};
use crate::{CONFIRM_TIMEOUT, Destination, Publication, PublishError, Unavailable};

/// Publications in flight; bounds what lapin keeps in memory too.
const IN_FLIGHT: usize = 32;
const PERSISTENT: u8 = 2;
const NOT_FOUND: u16 = 404;

pub(super) struct Publisher {
    link: Link,
    permits: Semaphore,
    idle: Mutex<Vec<Channel>>,
}

enum Missing {
    Returned,
    Exchange,
}

enum Attempt {
    Confirmed,
    Refused,
    Missing(Missing),
}

impl Publisher {
    pub(super) fn new(link: Link) -> Self {
        Self { link, permits: Semaphore::new(IN_FLIGHT), idle: Mutex::default() }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) async fn publish(
        &self,
        publication: &Publication,
        again: &Again,
        work: &Link,
    ) -> Result<(), PublishError> {
        let seen = again.times();
        let missing = match self.attempt(publication).await? {
            Attempt::Confirmed => return Ok(()),
            Attempt::Refused => return Err(PublishError::Refused),
            Attempt::Missing(missing) => missing,
        };
        if !declare::is_known(&publication.to) && matches!(missing, Missing::Returned) {
            return Err(returned(&publication.to));
        }
        again.declare(work, seen).await?;
        match self.attempt(publication).await? {
            Attempt::Confirmed => Ok(()),
            Attempt::Refused => Err(PublishError::Refused),
            Attempt::Missing(_) => Err(returned(&publication.to)),
        }
    }

    async fn attempt(&self, publication: &Publication) -> Result<Attempt, PublishError> {
        let attempt = async {
            let _permit = self.permits.acquire().await.map_err(|_| closed())?;
            let channel = self.channel().await?;
            // Dropped where this ends early, and closed thereby: its confirm would be another's.
            let attempt = send(&channel, publication).await?;
            match attempt {
                // RabbitMQ tells every channel that published to a queue when it is full, and not
                // when it has room because its limit went: those are refused for ever.
                Attempt::Refused => self.idle().clear(),
                Attempt::Missing(Missing::Exchange) => {}
                Attempt::Confirmed | Attempt::Missing(Missing::Returned) => {
                    self.idle().push(channel)
                }
            }
            Ok::<Attempt, Unavailable>(attempt)
        };
        match timeout(CONFIRM_TIMEOUT, attempt).await {
            Ok(attempt) => attempt.map_err(PublishError::from),
            Err(_) => Err(PublishError::Unavailable("no confirm in time".into())),
        }
    }

    async fn channel(&self) -> Result<Channel, Unavailable> {
        let live = self.link.live().await?;
        if live.is_blocked() {
            return Err(Unavailable("the broker is short of memory or disk".into()));
        }
        while let Some(channel) = self.take_idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = self.link.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(super::link::unavailable)?;
        Ok(channel)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Channel> {
        self.idle().pop()
    }

    /// Waits for those in flight, and takes no more.
    pub(super) async fn drain(&self) {
        let all = u32::try_from(IN_FLIGHT).expect("a small number");
        if let Ok(_permits) = timeout(CONFIRM_TIMEOUT, self.permits.acquire_many(all)).await {
            self.permits.close();
        }
        self.permits.close();
        self.idle().clear();
    }
}

async fn send(channel: &Channel, publication: &Publication) -> Result<Attempt, Unavailable> {
    let (exchange, key) = declare::route(&publication.to);
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let published = async {
        channel
            .basic_publish(
                exchange.into(),
                key.into(),
                options,
                &publication.body,
                properties(publication),
            )
            .await?
            .await
    };
    match published.await {
        Ok(Confirmation::Ack(None)) => Ok(Attempt::Confirmed),
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
            Ok(Attempt::Missing(Missing::Returned))
        }
        Ok(Confirmation::Nack(None)) => Ok(Attempt::Refused),
        Ok(Confirmation::NotRequested) => Err(Unavailable("the channel does not confirm".into())),
        Err(error) if is_not_found(&error) => Ok(Attempt::Missing(Missing::Exchange)),
        Err(error) => Err(super::link::unavailable(error)),
    }
}

pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}

fn properties(publication: &Publication) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (key, value) in &publication.headers {
        headers.insert(key.as_str().into(), AMQPValue::LongString(value.as_str().into()));
    }
    BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers)
}

fn returned(to: &Destination) -> PublishError {
    PublishError::Returned(format!("{to:?}"))
}

fn closed() -> Unavailable {
    Unavailable("this broker was closed".into())
}

impl From<Unavailable> for PublishError {
    fn from(Unavailable(why): Unavailable) -> Self {
        Self::Unavailable(why)
    }
}
