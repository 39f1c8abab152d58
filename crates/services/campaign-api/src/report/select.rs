//! Which campaign and run a report is asked for.

use carillon_contracts::ids::{OrganisationId, RunId};
use carillon_service_kit::{
    database::Sql,
    status::{internal, invalid, not_found, refused},
};
use tonic::Status;

use super::store::{self, RunRow};
use crate::{grpc::find_campaign, store::CampaignRow};

pub(crate) struct Selected {
    pub campaign: CampaignRow,
    pub run: RunId,
    /// `None` while nothing was heard of the run.
    pub row: Option<RunRow>,
}

/// The named run of the caller's campaign, or the newest.
pub(crate) async fn select(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign_id: &str,
    run_id: &str,
) -> Result<Selected, Status> {
    let campaign = find_campaign(connection, organisation, "campaign_id", campaign_id).await?;
    let id = campaign.id;
    let first = campaign.first_run().ok_or_else(|| {
        refused(
            "CAMPAIGN_NOT_STARTED",
            format!("campaign_id: campaign {id} was not started, so there is nothing to report; start it first"),
        )
    })?;
    if run_id.is_empty() {
        let row = store::newest_run(connection, organisation, id).await.map_err(internal)?;
        let run = row.as_ref().map_or(first, |row| row.run);
        return Ok(Selected { campaign, run, row });
    }
    let run: RunId = run_id.parse().map_err(|error| invalid("run_id", format!("{error}")))?;
    let row = store::run(connection, organisation, id, run).await.map_err(internal)?;
    if row.is_none() && run != first {
        return Err(not_found(format!(
            "run_id: campaign {id} has no run {run}; leave run_id out for the newest"
        )));
    }
    Ok(Selected { campaign, run, row })
}
