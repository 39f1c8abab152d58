//! The way in: who asks, and which verb answers. The report's is in `report/`.

mod audit;
mod texts;

use carillon_contracts::{
    campaign::v1::{
        ArchiveCampaignRequest, Campaign, CancelCampaignRequest, CopyCampaignRequest,
        CreateCampaignRequest, CreateKeyRequest, CreateKeyResponse, CreateOrganisationRequest,
        CreateOrganisationResponse, Forecast, ForecastCampaignRequest, GetCampaignRequest,
        GetOrganisationRequest, HaltCampaignResponse, ListAlertsRequest, ListAlertsResponse,
        ListCampaignsRequest, ListCampaignsResponse, ListKeysRequest, ListKeysResponse,
        ListNextRunsRequest, ListNextRunsResponse, Organisation, PauseCampaignRequest, Preview,
        PreviewCampaignRequest, ResumeCampaignRequest, RevokeKeyRequest, RevokeKeyResponse,
        RotateKeyRequest, SetSmsGatewayRequest, SetSmtpServerRequest, StartCampaignRequest,
        TestCampaignRequest, TestSmtpServerRequest, TestSmtpServerResponse, UpdateCampaignRequest,
        UpdateOrganisationRequest, campaign_service_server::CampaignService,
        key_service_server::KeyService, organisation_service_server::OrganisationService,
    },
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::{
    database::Sql,
    status::{internal, invalid, not_found},
};
use sea_orm::DatabaseTransaction;
use tonic::{Request, Response, Status};

use crate::{
    CampaignApi,
    domain::lifecycle::Order,
    store::{self, CampaignRow},
};

#[tonic::async_trait]
impl OrganisationService for CampaignApi {
    async fn create_organisation(
        &self,
        request: Request<CreateOrganisationRequest>,
    ) -> Result<Response<CreateOrganisationResponse>, Status> {
        let caller = self.platform_caller(request.metadata(), "creates organisations").await?;
        self.create_organisation(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn get_organisation(
        &self,
        request: Request<GetOrganisationRequest>,
    ) -> Result<Response<Organisation>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        let row = store::organisation(self.database.reader(), organisation).await;
        let row = row.map_err(internal)?.ok_or_else(|| no_organisation(organisation))?;
        Ok(Response::new(self.shown(organisation, row.organisation)))
    }

    async fn update_organisation(
        &self,
        request: Request<UpdateOrganisationRequest>,
    ) -> Result<Response<Organisation>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let stored = self.update_organisation(&caller, request.into_inner()).await?;
        Ok(Response::new(self.shown(caller.organisation, stored)))
    }

    async fn set_smtp_server(
        &self,
        request: Request<SetSmtpServerRequest>,
    ) -> Result<Response<Organisation>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let stored = self.set_smtp_server(&caller, request.into_inner()).await?;
        Ok(Response::new(self.shown(caller.organisation, stored)))
    }

    async fn test_smtp_server(
        &self,
        request: Request<TestSmtpServerRequest>,
    ) -> Result<Response<TestSmtpServerResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.test_smtp_server(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn set_sms_gateway(
        &self,
        request: Request<SetSmsGatewayRequest>,
    ) -> Result<Response<Organisation>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let stored = self.set_sms_gateway(&caller, request.into_inner()).await?;
        Ok(Response::new(self.shown(caller.organisation, stored)))
    }

    async fn list_alerts(
        &self,
        request: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_alerts(organisation, request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl CampaignService for CampaignApi {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.create_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        let row = find_campaign(self.database.reader(), organisation, "id", &request.get_ref().id)
            .await?;
        Ok(Response::new(row.into_campaign()))
    }

    async fn list_campaigns(
        &self,
        request: Request<ListCampaignsRequest>,
    ) -> Result<Response<ListCampaignsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_campaigns(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn update_campaign(
        &self,
        request: Request<UpdateCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.update_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn start_campaign(
        &self,
        request: Request<StartCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.start_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn forecast_campaign(
        &self,
        request: Request<ForecastCampaignRequest>,
    ) -> Result<Response<Forecast>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.forecast_campaign(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn test_campaign(
        &self,
        request: Request<TestCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.test_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn copy_campaign(
        &self,
        request: Request<CopyCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.copy_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn archive_campaign(
        &self,
        request: Request<ArchiveCampaignRequest>,
    ) -> Result<Response<Campaign>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.archive_campaign(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn preview_campaign(
        &self,
        request: Request<PreviewCampaignRequest>,
    ) -> Result<Response<Preview>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.preview_campaign(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn pause_campaign(
        &self,
        request: Request<PauseCampaignRequest>,
    ) -> Result<Response<HaltCampaignResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let id = &request.get_ref().id;
        self.halt_campaign(&caller, id, Order::Pause).await.map(Response::new)
    }

    async fn resume_campaign(
        &self,
        request: Request<ResumeCampaignRequest>,
    ) -> Result<Response<HaltCampaignResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let id = &request.get_ref().id;
        self.halt_campaign(&caller, id, Order::Resume).await.map(Response::new)
    }

    async fn cancel_campaign(
        &self,
        request: Request<CancelCampaignRequest>,
    ) -> Result<Response<HaltCampaignResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let id = &request.get_ref().id;
        self.halt_campaign(&caller, id, Order::Cancel).await.map(Response::new)
    }

    async fn list_next_runs(
        &self,
        request: Request<ListNextRunsRequest>,
    ) -> Result<Response<ListNextRunsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_next_runs(organisation, request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl KeyService for CampaignApi {
    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.create_key(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_keys(organisation).await.map(Response::new)
    }

    async fn rotate_key(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.rotate_key(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> Result<Response<RevokeKeyResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.revoke_key(&caller, request.into_inner()).await.map(Response::new)
    }
}

/// The caller's campaign with the id that stood in `field`; another's does not exist for them.
pub(crate) async fn find_campaign(
    connection: &impl Sql,
    organisation: OrganisationId,
    field: &str,
    id: &str,
) -> Result<CampaignRow, Status> {
    let id = campaign_id(field, id)?;
    let row = store::campaign(connection, organisation, id).await.map_err(internal)?;
    row.ok_or_else(|| no_campaign(field, id))
}

/// The same to change it: nobody else does until the transaction ends.
pub(crate) async fn locked_campaign(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    field: &str,
    id: &str,
) -> Result<CampaignRow, Status> {
    let id = campaign_id(field, id)?;
    let row = store::locked_campaign(tx, organisation, id).await.map_err(internal)?;
    row.ok_or_else(|| no_campaign(field, id))
}

fn campaign_id(field: &str, id: &str) -> Result<CampaignId, Status> {
    if id.is_empty() {
        return Err(invalid(field, "is missing; give a campaign's id"));
    }
    id.parse().map_err(|error| invalid(field, format!("{error}")))
}

fn no_campaign(field: &str, id: CampaignId) -> Status {
    not_found(format!(
        "{field}: there is no campaign {id}; `carillon campaign list` shows those there are"
    ))
}

pub(crate) fn no_organisation(id: OrganisationId) -> Status {
    internal(format!("organisation {id} has a key, but no row"))
}
