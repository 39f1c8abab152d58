//! Halts: somebody paused, resumed or cancelled a campaign. The plan of a paused one goes on, and
//! its batches wait; that of a cancelled one is closed with what was planned, and its batches are
//! released to be settled. The newest version wins.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, Halt, event::Body},
    ids::{CampaignId, OrganisationId},
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use crate::{Evaluator, store};

pub(crate) struct Halts(pub Evaluator);

#[async_trait]
impl Handler for Halts {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::CampaignHalted(halted)) = &event.body else {
            return Err(wrong("no body"));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id).map_err(wrong)?;
        let campaign = CampaignId::from_wire(&halted.campaign_id).map_err(wrong)?;
        let halt = Halt::try_from(halted.halt).map_err(wrong)?;
        if halt == Halt::Unspecified {
            return Err(wrong("it does not say which"));
        }
        let version = halted.version.cast_signed();
        Ok(store::keep_halt(tx, organisation, campaign, halt, version).await?)
    }

    fn committed(&self) {
        self.0.plan_soon.notify_one();
        self.0.release_soon.notify_one();
    }
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("campaign.halted: {what}"))
}
