//! Publish: a campaign was started; its document is pinned and the tick looks at it.

use async_trait::async_trait;
use carillon_calendar::Schedule;
use carillon_contracts::{
    events::v1::{CampaignPublished, Event, event::Body},
    ids::{CampaignId, OrganisationId},
    time,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::telemetry;
use sea_orm::DatabaseTransaction;

use crate::{Scheduler, store};

pub(crate) struct Publish(pub Scheduler);

#[async_trait]
impl Handler for Publish {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let wrong = |what: &str| HandlerError::Event(format!("campaign.published: {what}"));
        let Some(Body::CampaignPublished(published)) = &event.body else {
            return Err(wrong("no body"));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let campaign = CampaignId::from_wire(&published.campaign_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let CampaignPublished { campaign: document, start_time, .. } = published;
        let document = document.as_ref().ok_or_else(|| wrong("no campaign"))?;
        let schedule = Schedule::from_wire(document.schedule.as_ref())
            .map_err(|error| wrong(&format!("schedule: {error}")))?;
        let start = start_time.as_ref().and_then(time::from_wire);
        let start = start.ok_or_else(|| wrong("no start_time"))?;
        let fired = store::has_run(tx, organisation, campaign, &schedule.first_key()).await?;
        // The tick finds the time in the organisation's zone, which may not be known yet.
        let next_fire = (!fired).then(|| start.as_millisecond());
        let trace = telemetry::traceparent();
        store::keep_newest(tx, organisation, campaign, published, trace, next_fire).await?;
        Ok(())
    }

    fn committed(&self) {
        self.0.due.notify_one();
    }
}
