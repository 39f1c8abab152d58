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
use carillon_service_kit::{Clock, Database, Stop, database::Sql as _, telemetry};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::Notify;

use crate::{marks::passed_by_all, relay};

/// A producer's side: what its service writes events with.
#[derive(Clone)]
pub struct Outbox {
    pub(crate) producer: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Clock,
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
            patience: broker.resend_after(),
            broker,
            clock,
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
        self.append_to_trace(tx, organisation, body, telemetry::traceparent()).await
    }

    /// The same, as a part of another trace than the current span's.
    pub async fn append_to_trace(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        body: Body,
        traceparent: String,
    ) -> Result<i64, DbErr> {
        let stream = topology::stream(self.producer, event_type(&body));
        let event = Event {
            organisation_id: organisation.to_wire(),
            occur_time: Some(time::to_wire(self.clock.now())),
            traceparent,
            body: Some(body),
        };
        let row = tx
            .row(
                "INSERT INTO outbox (stream, body, created_at) VALUES ($1, $2, $3) RETURNING id",
                [stream.into(), event.encode_to_vec().into(), self.clock.now_ms().into()],
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

    /// Waits until every subscriber has passed the row, `limit` at most. Answers whether they have,
    /// whichever replica publishes it and hears of them.
    pub async fn passed(&self, row: i64, limit: Duration) -> Result<bool, DbErr> {
        let waiting = async {
            while !self.is_passed(row).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(result) => result.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn is_passed(&self, row: i64) -> Result<bool, DbErr> {
        let reader = self.database.reader();
        let kept = "SELECT stream, seq FROM outbox WHERE id = $1";
        let Some(kept) = reader.row(kept, [row.into()]).await? else { return Ok(true) };
        let (stream, seq): (String, Option<i64>) =
            (kept.try_get_by_index(0)?, kept.try_get_by_index(1)?);
        let Some(seq) = seq else { return Ok(false) };
        Ok(passed_by_all(reader, &stream).await? >= seq)
    }

    /// Starts the relay, the listener for marks, the resending of overtaken rows, and the watch over
    /// what was answered "not yet in effect".
    pub fn spawn(&self, stop: &Stop) {
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep(relay::TASK, move || outbox.clone().relay(stopping.clone()));
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox marks", move || outbox.clone().hear_marks(stopping.clone()));
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox again", move || outbox.clone().send_again(stopping.clone()));
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox effects", move || outbox.clone().watch_effects(stopping.clone()));
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
        Body::BalanceLow(_) => topology::BALANCE_LOW,
        Body::CampaignHalted(_) => topology::CAMPAIGN_HALTED,
        Body::SuppressionChanged(_) => topology::SUPPRESSION_CHANGED,
        Body::ReplyReceived(_) => topology::REPLY_RECEIVED,
        Body::AuditRecorded(_) => topology::AUDIT_RECORDED,
        Body::GatewayChanged(_) => topology::GATEWAY_CHANGED,
    }
}
