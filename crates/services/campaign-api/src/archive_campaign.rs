//! Archive a campaign: it is put away, and its report stays. Doing it again changes nothing.

use carillon_audit::{Change, acts, fields};
use carillon_contracts::campaign::v1::{ArchiveCampaignRequest, Campaign};
use carillon_service_kit::status::{internal, refused};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::lifecycle,
    grpc::locked_campaign,
    store::{self, CampaignRow},
};

impl CampaignApi {
    pub(crate) async fn archive_campaign(
        &self,
        caller: &Caller,
        request: ArchiveCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let current = locked_campaign(&tx, organisation, "id", &request.id).await?;
        if current.archived_ms.is_some() {
            return Ok(current.into_campaign());
        }
        if !lifecycle::may_be_archived(current.state) {
            let (id, word) = (current.id, lifecycle::word(current.state));
            return Err(refused(
                "CAMPAIGN_NOT_ENDED",
                format!(
                    "id: campaign {id} is {word}, and only drafts and ended campaigns can be \
                     archived; cancel it first, or wait until it is finished"
                ),
            ));
        }
        let now_ms = self.clock.now_ms();
        let row = CampaignRow {
            version: current.version + 1,
            updated_ms: now_ms,
            archived_ms: Some(now_ms),
            ..current
        };
        store::save_campaign(&tx, organisation, &row).await.map_err(internal)?;
        let change = Change::to(fields([("archived", true.into())]));
        self.record(&tx, caller, acts::CAMPAIGN_ARCHIVED, row.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(row.into_campaign())
    }
}
