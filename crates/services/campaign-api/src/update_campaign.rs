//! Update a draft's fields that a mask names.

use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState, UpdateCampaignRequest},
    ids::OrganisationId,
};
use carillon_service_kit::status::{internal, invalid, invalid_fields, refused};
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{
        campaign::{self, SETTABLE},
        mask,
    },
    grpc::find_campaign,
    store::{self, CampaignRow, Saved},
};

impl CampaignApi {
    pub(crate) async fn update_campaign(
        &self,
        organisation: OrganisationId,
        request: UpdateCampaignRequest,
    ) -> Result<Campaign, Status> {
        let UpdateCampaignRequest { campaign: given, update_mask } = request;
        let given = given.ok_or_else(|| invalid("campaign", "is missing; give at least its id"))?;
        let paths = mask::paths(update_mask.as_ref(), SETTABLE).map_err(invalid_fields)?;
        let reader = self.database.reader();
        let current = find_campaign(reader, organisation, "campaign.id", &given.id).await?;
        if current.state != CampaignState::Draft {
            return Err(refused(
                "NOT_A_DRAFT",
                format!(
                    "campaign.id: campaign {} was started, and only drafts can be changed; create \
                     another one",
                    current.id
                ),
            ));
        }
        let document = campaign::settable(campaign::merged(&current.document, given, &paths));
        self.check_campaign(organisation, &document).await?;
        let row = CampaignRow {
            document,
            version: current.version + 1,
            updated_ms: self.clock.now_ms(),
            ..current
        };
        let tx = self.database.begin().await.map_err(internal)?;
        let saved = store::change_draft(&tx, organisation, &row).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        match saved {
            Saved::Yes => Ok(row.into_campaign()),
            Saved::Changed => Err(Status::aborted(format!(
                "campaign.id: campaign {} was changed or started at the same moment; read it and \
                 try again",
                row.id
            ))),
        }
    }
}
