//! Deliveries: a batch's totals say whether it holds its place, and when its block can go. The
//! newest version wins, so they may come late, twice, and in any order.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, Totals, event::Body},
    ids::{BatchId, OrganisationId},
    vocabulary::WaitReason,
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
            held_up: held_up(totals),
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

/// Who waits for throttle, money, or their first turn at a slow gateway would hold up those behind
/// them too, so their batch keeps its place; so does what the organisation's switch holds back. A
/// retry, a receipt or quiet hours hold up nobody.
fn held_up(totals: &Totals) -> u32 {
    let reasons = [
        WaitReason::Throttled,
        WaitReason::InsufficientBalance,
        WaitReason::BillingUnavailable,
        WaitReason::Backlog,
        WaitReason::Paused,
    ];
    let waiting = reasons.iter().filter_map(|reason| totals.waiting.get(reason.word()));
    waiting.fold(0, |sum, count| sum.saturating_add(*count))
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("delivery.changed: {what}"))
}
