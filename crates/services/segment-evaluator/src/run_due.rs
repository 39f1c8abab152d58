//! A run is due: pins its content, audience and deadline, and wakes the planner.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, RunDue, event::Body},
    ids::{CampaignId, OrganisationId, RunId},
    time,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::telemetry;
use prost::Message as _;
use sea_orm::DatabaseTransaction;

use crate::{
    Evaluator,
    domain::{filter::Selection, variables::Texts},
    store::{self, NewRun},
};

pub(crate) struct PinRun(pub Evaluator);

#[async_trait]
impl Handler for PinRun {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::RunDue(due)) = &event.body else {
            return Err(wrong("no body"));
        };
        let new = self.read(event, due)?;
        store::lock_runs_for_new_one(tx, new.organisation).await?;
        Ok(store::add_run(tx, new).await?)
    }

    fn committed(&self) {
        self.0.plan_soon.notify_one();
    }
}

impl PinRun {
    /// Whatever could not be planned later is refused here, where it can be parked.
    fn read(&self, event: &Event, due: &RunDue) -> Result<NewRun, HandlerError> {
        let organisation = OrganisationId::from_wire(&event.organisation_id).map_err(wrong)?;
        let run = RunId::from_wire(&due.run_id).map_err(wrong)?;
        let campaign = CampaignId::from_wire(&due.campaign_id).map_err(wrong)?;
        let deadline = due.deadline.as_ref().and_then(time::from_wire);
        let deadline = deadline.ok_or_else(|| wrong("no deadline"))?.as_millisecond();
        let content = due.content.as_ref().ok_or_else(|| wrong("no content"))?;
        Texts::parse(content).map_err(wrong)?;
        let audience = due.audience.as_ref().ok_or_else(|| wrong("no audience"))?;
        Selection::of_audience(Some(audience)).map_err(wrong)?;
        Ok(NewRun {
            run,
            organisation,
            campaign: campaign.uuid(),
            run_day: due.run_day,
            deadline,
            audience: audience.encode_to_vec(),
            content: content.encode_to_vec(),
            traceparent: telemetry::traceparent(),
            created_at: self.0.clock.now_ms(),
        })
    }
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("run.due: {what}"))
}
