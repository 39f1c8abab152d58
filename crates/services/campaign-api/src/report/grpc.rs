//! The way in: who asks, and which verb answers.

use carillon_contracts::report::v1::{
    GetReportRequest, ListReportMessagesRequest, ListReportMessagesResponse, Report,
    report_service_server::ReportService,
};
use tonic::{Request, Response, Status};

use crate::CampaignApi;

#[tonic::async_trait]
impl ReportService for CampaignApi {
    async fn get_report(
        &self,
        request: Request<GetReportRequest>,
    ) -> Result<Response<Report>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.report(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn list_report_messages(
        &self,
        request: Request<ListReportMessagesRequest>,
    ) -> Result<Response<ListReportMessagesResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.report_messages(organisation, request.into_inner()).await.map(Response::new)
    }
}
