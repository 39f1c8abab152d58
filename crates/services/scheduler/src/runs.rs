//! Runs: what became due, newest first, page by page.

use carillon_contracts::{
    ids::{CampaignId, OrganisationId, RunId},
    schedule::v1::{ListRunsRequest, ListRunsResponse},
};
use carillon_service_kit::{
    page,
    status::{internal, invalid},
};
use tonic::Status;

use crate::{Scheduler, store};

impl Scheduler {
    pub(crate) async fn runs(
        &self,
        organisation: OrganisationId,
        request: ListRunsRequest,
    ) -> Result<ListRunsResponse, Status> {
        let size = page::size(request.page_size)?;
        let campaign = match request.campaign_id.as_str() {
            "" => None,
            text => {
                let id = text.parse::<CampaignId>();
                Some(id.map_err(|error| invalid("campaign_id", error.to_string()))?)
            }
        };
        let after = page::place(&request.page_token, None, |token| parse_token(token).map(Some))?;
        let mut rows = store::runs(self.database.reader(), organisation, campaign, after, size + 1)
            .await
            .map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let next_page_token =
            rows.last().filter(|_| more).map_or_else(String::new, |row| row.token());
        let runs = rows.into_iter().map(Into::into).collect();
        Ok(ListRunsResponse { runs, next_page_token })
    }
}

/// A place in the list: the nominal time in milliseconds, and the run.
fn parse_token(token: &str) -> Option<(i64, RunId)> {
    let (nominal, run) = token.split_once('.')?;
    Some((nominal.parse().ok()?, run.parse().ok()?))
}
