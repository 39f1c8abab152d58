//! Get a report: every figure from one snapshot, so that the sums hold.

use carillon_contracts::{
    ids::OrganisationId,
    report::v1::{GetReportRequest, Report},
    time,
};
use carillon_service_kit::status::internal;
use jiff::Timestamp;
use tonic::Status;

use super::{
    select::{Selected, select},
    store,
    sums::RunSums,
};
use crate::CampaignApi;

impl CampaignApi {
    pub(crate) async fn report(
        &self,
        organisation: OrganisationId,
        request: GetReportRequest,
    ) -> Result<Report, Status> {
        let GetReportRequest { campaign_id, run_id } = request;
        let snapshot = self.database.snapshot().await.map_err(internal)?;
        let selected = select(&snapshot, organisation, &campaign_id, &run_id).await?;
        let sums = match &selected.row {
            Some(row) => store::run_sums(&snapshot, row.key).await.map_err(internal)?,
            None => RunSums::default(),
        };
        snapshot.commit().await.map_err(internal)?;
        Ok(assemble(selected, sums))
    }
}

fn assemble(selected: Selected, sums: RunSums) -> Report {
    let Selected { campaign, run, row } = selected;
    let instant = |ms| Timestamp::from_millisecond(ms).ok().map(time::to_wire);
    let all = sums.all();
    let plan = row.as_ref().and_then(|row| row.plan.as_ref());
    let start = row.as_ref().and_then(|row| row.nominal_ms).or(campaign.started_ms);
    let updated = row.as_ref().map(|row| row.updated_ms.max(sums.updated_ms));
    Report {
        campaign: campaign.id.to_string(),
        run: run.to_string(),
        matched: all.matched(),
        planned: all.planned,
        plan_complete: plan.is_some_and(|plan| plan.is_complete(&all)),
        skipped: all.skipped,
        states: all.states,
        waiting: all.waiting,
        in_flight: all.in_flight,
        channels: sums.into_channels(),
        campaign_state: campaign.state.into(),
        start_time: start.and_then(instant),
        update_time: updated.or(Some(campaign.updated_ms)).and_then(instant),
        test: campaign.document.test,
        campaign_name: campaign.document.name,
    }
}
