//! The log of who changed what.

use carillon_contracts::campaign::v1::{
    ListAuditEntriesRequest, ListAuditEntriesResponse, VerifyAuditEntriesRequest,
    VerifyAuditEntriesResponse, audit_service_server::AuditService,
};
use tonic::{Request, Response, Status};

use crate::CampaignApi;

#[tonic::async_trait]
impl AuditService for CampaignApi {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let organisation = self.audited(request.metadata(), request.get_ref().platform).await?;
        self.list_audit_entries(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn verify_audit_entries(
        &self,
        request: Request<VerifyAuditEntriesRequest>,
    ) -> Result<Response<VerifyAuditEntriesResponse>, Status> {
        let organisation = self.audited(request.metadata(), request.get_ref().platform).await?;
        self.verify_audit_entries(organisation).await.map(Response::new)
    }
}
