use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use carillon_broker::{Broker, topology};
use carillon_contracts::{
    events::v1::{Event, event::Body},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::{Clock, Database, Stop, database::Sql as _};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::Notify;

use crate::heard::Heard;

/// A producer's side: what its service writes events with.
#[derive(Clone)]
pub struct Outbox {
    pub(crate) producer: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Clock,
    pub(crate) heard: Heard,
    /// How long a row must have been overtaken before it is sent again.
    pub(crate) patience: Duration,
    pub(crate) begun: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

impl Outbox {
    pub fn new(
        producer: &'static str,
        database: Database,
        broker: Arc<dyn Broker>,
        clock: Clock,
    ) -> Self {
        Self {
            producer,
            database,
            broker,
            clock,
            heard: Heard::default(),
            patience: Duration::from_secs(60),
            begun: Arc::default(),
            wake: Arc::default(),
        }
    }

    /// Shortens the wait before an overtaken row is sent again: for tests.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Writes an event in the transaction of the change that it tells of. Answers the row's id,
    /// for `passed`. Call `wake` after the commit.
    pub async fn append(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        body: Body,
    ) -> Result<i64, DbErr> {
        let stream = topology::stream(self.producer, event_type(&body));
        let event = Event {
            organisation_id: organisation.to_wire(),
            occur_time: Some(time::to_wire(self.clock.now())),
            traceparent: String::new(),
            body: Some(body),
        };
        let row = tx
            .row(
                "INSERT INTO outbox (stream, body) VALUES ($1, $2) RETURNING id",
                [stream.into(), event.encode_to_vec().into()],
            )
            .await?
            .ok_or_else(|| DbErr::RecordNotInserted)?;
        row.try_get_by_index(0)
    }

    /// Tells the relay that there is something to publish.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until every subscriber has passed the row, `limit` at most. Answers whether they have.
    pub async fn passed(&self, row: i64, limit: Duration) -> Result<bool, DbErr> {
        let waiting = async {
            let kept = "SELECT 1 FROM outbox WHERE id = $1";
            while self.database.reader().row(kept, [row.into()]).await?.is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(result) => result.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Starts the relay, the listener for marks, and the resending of overtaken rows.
    pub fn spawn(&self, stop: &Stop) {
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox relay", move || outbox.clone().relay(stopping.clone()));
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox marks", move || outbox.clone().hear_marks(stopping.clone()));
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox again", move || outbox.clone().send_again(stopping.clone()));
    }
}

fn event_type(body: &Body) -> &'static str {
    match body {
        Body::OrganisationChanged(_) => topology::ORGANISATION_CHANGED,
        Body::CampaignPublished(_) => topology::CAMPAIGN_PUBLISHED,
        Body::RunDue(_) => topology::RUN_DUE,
        Body::RunMissed(_) => topology::RUN_MISSED,
        Body::BatchPlanned(_) => topology::BATCH_PLANNED,
        Body::RunPlanned(_) => topology::RUN_PLANNED,
        Body::DeliveryChanged(_) => topology::DELIVERY_CHANGED,
        Body::BalanceRaised(_) => topology::BALANCE_RAISED,
        Body::CampaignHalted(_) => topology::CAMPAIGN_HALTED,
        Body::SuppressionChanged(_) => topology::SUPPRESSION_CHANGED,
    }
}
