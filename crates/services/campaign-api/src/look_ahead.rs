//! Forecast and preview: what a start would do, asked of the segment evaluator. Both work on
//! drafts.

use carillon_contracts::{
    campaign::v1::{Forecast, ForecastCampaignRequest, Preview, PreviewCampaignRequest},
    ids::OrganisationId,
};
use carillon_service_kit::status::invalid;
use tonic::Status;

use crate::{CampaignApi, grpc::find_campaign};

impl CampaignApi {
    pub(crate) async fn forecast_campaign(
        &self,
        organisation: OrganisationId,
        request: ForecastCampaignRequest,
    ) -> Result<Forecast, Status> {
        let reader = self.database.reader();
        let row = find_campaign(reader, organisation, "id", &request.id).await?;
        let document = row.document;
        self.audience.forecast(organisation, document.audience, document.content).await
    }

    pub(crate) async fn preview_campaign(
        &self,
        organisation: OrganisationId,
        request: PreviewCampaignRequest,
    ) -> Result<Preview, Status> {
        let PreviewCampaignRequest { id, customer } = request;
        if customer.is_empty() {
            return Err(invalid("customer", "is missing; give a customer's external id"));
        }
        let row = find_campaign(self.database.reader(), organisation, "id", &id).await?;
        self.audience.preview(organisation, customer, row.document.content).await
    }
}
