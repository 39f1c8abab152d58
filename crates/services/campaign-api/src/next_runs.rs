//! When a campaign would run next, in its organisation's zone. Works on drafts.

use carillon_contracts::{
    campaign::v1::{CampaignState, ListNextRunsRequest, ListNextRunsResponse, NextRun},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::status::invalid;
use tonic::Status;

use crate::{CampaignApi, domain::schedule, grpc::find_campaign};

const MOST: i32 = 100;
const DEFAULT: i32 = 5;

impl CampaignApi {
    pub(crate) async fn list_next_runs(
        &self,
        organisation: OrganisationId,
        request: ListNextRunsRequest,
    ) -> Result<ListNextRunsResponse, Status> {
        let ListNextRunsRequest { id, page_size, from } = request;
        let size = match page_size {
            0 => DEFAULT,
            1..=MOST => page_size,
            _ => {
                let rule = format!("{page_size} is not within 1 to {MOST}");
                return Err(invalid("page_size", rule));
            }
        };
        let from = match &from {
            None => self.clock.now(),
            Some(at) => time::from_wire(at)
                .ok_or_else(|| invalid("from", "is no instant between the years -9999 and 9999"))?,
        };
        let campaign = find_campaign(self.database.reader(), organisation, "id", &id).await?;
        let zone = self.zone(organisation).await?;
        let over = matches!(campaign.state, CampaignState::Cancelled | CampaignState::Finished);
        // What is sent at once runs when it is started, and never again.
        let begun = campaign.started_ms.is_some() && !campaign.is_scheduled();
        if over || begun {
            return Ok(ListNextRunsResponse::default());
        }
        let runs = schedule::next(&campaign.document, &zone, from);
        let runs = runs.take(usize::try_from(size).unwrap_or(usize::MAX));
        let runs = runs.map(|run| NextRun {
            time: Some(time::to_wire(run.nominal)),
            local_time: run.nominal.to_zoned(zone.clone()).to_string(),
            deadline: Some(time::to_wire(run.deadline)),
        });
        Ok(ListNextRunsResponse { runs: runs.collect() })
    }
}
