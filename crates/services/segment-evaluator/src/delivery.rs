//! Deliveries: a batch's totals say when it gives up its place, and when its block can go. Of totals
//! the newest version wins, so they may come late, twice, and in any order.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, event::Body},
    ids::{BatchId, OrganisationId},
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use crate::{
    Evaluator,
    store::{self, BatchTotals},
};

pub(crate) struct Deliveries(pub Evaluator);

#[async_trait]
impl Handler for Deliveries {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::DeliveryChanged(changed)) = &event.body else {
            return Err(wrong("no body"));
        };
        let totals = changed.totals.as_ref().ok_or_else(|| wrong("no totals"))?;
        let organisation = OrganisationId::from_wire(&event.organisation_id).map_err(wrong)?;
        let batch = BatchId::from_wire(&changed.batch_id).map_err(wrong)?;
        let totals = BatchTotals {
            version: totals.version.cast_signed(),
            accepted: totals.accepted,
            unattempted: totals.unattempted,
            closed: totals.closed,
        };
        let at = self.0.clock.now_ms();
        store::record_totals(tx, organisation, batch, &totals, at).await?;
        Ok(())
    }

    fn committed(&self) {
        self.0.release_soon.notify_one();
    }
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("delivery.changed: {what}"))
}
