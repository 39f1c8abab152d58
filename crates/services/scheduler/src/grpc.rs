//! The way in: who asks, and which verb answers.

use carillon_contracts::schedule::v1::{
    ListRunsRequest, ListRunsResponse, run_service_server::RunService,
};
use tonic::{Request, Response, Status};

use crate::Scheduler;

#[tonic::async_trait]
impl RunService for Scheduler {
    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.runs(organisation, request.into_inner()).await.map(Response::new)
    }
}
