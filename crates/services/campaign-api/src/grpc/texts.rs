//! Saved texts, and texts that are being written.

use carillon_contracts::campaign::v1::{
    CountSmsRequest, CountSmsResponse, CreateTemplateRequest, DeleteTemplateRequest,
    GetTemplateRequest, ListTemplateVersionsRequest, ListTemplateVersionsResponse,
    ListTemplatesRequest, ListTemplatesResponse, Template, UpdateTemplateRequest,
    content_service_server::ContentService, template_service_server::TemplateService,
};
use tonic::{Request, Response, Status};

use crate::{CampaignApi, count_sms::count_sms};

#[tonic::async_trait]
impl TemplateService for CampaignApi {
    async fn create_template(
        &self,
        request: Request<CreateTemplateRequest>,
    ) -> Result<Response<Template>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.create_template(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn get_template(
        &self,
        request: Request<GetTemplateRequest>,
    ) -> Result<Response<Template>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.get_template(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn list_templates(
        &self,
        request: Request<ListTemplatesRequest>,
    ) -> Result<Response<ListTemplatesResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_templates(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn update_template(
        &self,
        request: Request<UpdateTemplateRequest>,
    ) -> Result<Response<Template>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.update_template(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_template_versions(
        &self,
        request: Request<ListTemplateVersionsRequest>,
    ) -> Result<Response<ListTemplateVersionsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_template_versions(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn delete_template(
        &self,
        request: Request<DeleteTemplateRequest>,
    ) -> Result<Response<Template>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.delete_template(&caller, request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl ContentService for CampaignApi {
    async fn count_sms(
        &self,
        request: Request<CountSmsRequest>,
    ) -> Result<Response<CountSmsResponse>, Status> {
        self.tenancy.caller(request.metadata()).await?;
        count_sms(request.get_ref()).map(Response::new)
    }
}
