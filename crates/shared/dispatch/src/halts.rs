//! `campaign.halted` and `suppression.changed`: what may not be sent any more, or may again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, event::Body},
    ids::{CampaignId, CustomerId, InvalidId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::Stop;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::Notify;

use crate::store::{self, Store};

fn damaged(error: InvalidId) -> HandlerError {
    HandlerError::Event(error.to_string())
}

pub(crate) struct Halts {
    /// Something may be due now.
    pub soon: Arc<Notify>,
}

#[async_trait]
impl Handler for Halts {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::CampaignHalted(halted)) = &event.body else {
            return Err(HandlerError::Event("campaign.halted without its body".into()));
        };
        let campaign = CampaignId::from_wire(&halted.campaign_id).map_err(damaged)?;
        let version = halted.version.cast_signed();
        Ok(store::keep_halt(tx, campaign, halted.halt(), version).await?)
    }

    fn committed(&self) {
        self.soon.notify_one();
    }
}

pub(crate) struct Suppressions {
    pub channel: Channel,
}

#[async_trait]
impl Handler for Suppressions {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::SuppressionChanged(changed)) = &event.body else {
            return Err(HandlerError::Event("suppression.changed without its body".into()));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id).map_err(damaged)?;
        let mut ours = Vec::new();
        for suppression in &changed.suppressions {
            let customer = CustomerId::from_wire(&suppression.customer_id).map_err(damaged)?;
            if suppression.channel() == self.channel {
                ours.push((customer, suppression));
            }
        }
        // Rows are taken in one order, whatever order they came in.
        ours.sort_by_key(|(customer, _)| *customer);
        Ok(store::keep_suppressions(tx, organisation, &ours).await?)
    }
}

/// Another replica may have heard of a halt, and died.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn wake_all(store: Store, soon: Arc<Notify>, stop: Stop) -> Result<(), DbErr> {
    while !stop.is_stopping() {
        store.wake_halted().await?;
        tokio::select! {
            () = soon.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.requested() => {}
        }
    }
    Ok(())
}
