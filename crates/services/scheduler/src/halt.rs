//! Halt: somebody paused, resumed or cancelled a campaign. What is paused fires when it is resumed;
//! what is cancelled never does.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, Halt, event::Body},
    ids::{CampaignId, OrganisationId},
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use crate::{
    Scheduler,
    store::{self, HaltOrder},
};

pub(crate) struct KeepHalts(pub Scheduler);

#[async_trait]
impl Handler for KeepHalts {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let wrong = |what: &str| HandlerError::Event(format!("campaign.halted: {what}"));
        let Some(Body::CampaignHalted(halted)) = &event.body else {
            return Err(wrong("no body"));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let campaign = CampaignId::from_wire(&halted.campaign_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let now_ms = self.0.clock.now_ms();
        let (word, resumed_ms) = match halted.halt() {
            Halt::Running => ("running", Some(now_ms)),
            Halt::Paused => ("paused", None),
            Halt::Cancelled => ("cancelled", None),
            Halt::Unspecified => return Err(wrong("no halt")),
        };
        let order = HaltOrder { word, version: halted.version.cast_signed(), resumed_ms };
        Ok(store::keep_newest_halt(tx, organisation, campaign, &order).await?)
    }

    fn committed(&self) {
        self.0.due.notify_one();
    }
}
