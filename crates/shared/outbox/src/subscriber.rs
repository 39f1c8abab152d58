//! What a service hears with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use carillon_broker::{Broker, topology};
use carillon_contracts::events::v1::Event;
use carillon_service_kit::{Clock, Database, Stop, panics::caught, telemetry};
use sea_orm::{DatabaseTransaction, DbErr};
use tracing::Instrument as _;

use crate::consume::Listening;

const MARK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The event itself is wrong; trying again will not help.
    #[error("{0}")]
    Event(String),
}

/// Applies events of one type. Called inside the transaction that also notes the event as handled.
/// The events of a stream are applied by one transaction at a time, whichever replica opens it;
/// what other streams and calls also write must be locked.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Called before the first event of a transaction, with all of them: what other streams change
    /// too is locked here, in one order.
    async fn lock(&self, _: &DatabaseTransaction, _: &[&Event]) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError>;

    /// Called after the commit of one or more events.
    fn committed(&self) {}
}

/// Applies events of one stream, each with its seq. A handler's panic is an error like any other.
pub(crate) async fn apply(
    handler: &dyn Handler,
    tx: &DatabaseTransaction,
    stream: &str,
    events: &[(i64, Event)],
) -> Result<(), HandlerError> {
    let applying = async {
        let all: Vec<&Event> = events.iter().map(|(_, event)| event).collect();
        handler.lock(tx, &all).await?;
        for (seq, event) in events {
            // What the handler writes continues the event's trace.
            let span = tracing::info_span!("event", otel.kind = "consumer", stream, seq);
            telemetry::with_remote_parent(&span, &event.traceparent);
            handler.handle(tx, event).instrument(span).await?;
        }
        Ok(())
    };
    let applied = caught(applying).await;
    applied.unwrap_or_else(|panicked| Err(HandlerError::Event(panicked.to_string())))
}

/// A subscriber's side: what its service hears events with. Clones know the same handlers.
#[derive(Clone)]
pub struct Subscriber {
    pub(crate) name: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Clock,
    pub(crate) mark_every: Duration,
    /// By stream.
    handlers: Arc<Mutex<BTreeMap<String, Arc<dyn Handler>>>>,
}

impl Subscriber {
    pub fn new(
        name: &'static str,
        database: Database,
        broker: Arc<dyn Broker>,
        clock: Clock,
    ) -> Self {
        let handlers = Arc::default();
        Self { name, database, broker, clock, mark_every: MARK_EVERY, handlers }
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
            let stream = topology::stream(producer, event);
            let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
            handlers.insert(stream.clone(), Arc::clone(&handler));
            drop(handlers);
            let listening = Listening {
                stream,
                producer,
                urgent: topology::is_urgent(event),
                subscriber: self.clone(),
                handler: Arc::clone(&handler),
            };
            let (listening, stopping) = (Arc::new(listening), stop.clone());
            stop.keep("event consumer", move || Arc::clone(&listening).run(stopping.clone()));
        }
    }

    pub(crate) fn handler(&self, stream: &str) -> Option<Arc<dyn Handler>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }
}
