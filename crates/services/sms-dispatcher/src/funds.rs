//! Billing behind the port: one call a batch.

use std::time::Duration;

use async_trait::async_trait;
use carillon_contracts::{
    billing::v1::{HoldRequest, hold_service_client::HoldServiceClient},
    ids::{BatchId, OrganisationId},
};
use carillon_dispatch::{Funds, FundsUnavailable};
use carillon_service_kit::rpc::Transport;
use tonic::Request;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Billing {
    client: HoldServiceClient<Transport>,
}

impl Billing {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { client: HoldServiceClient::new(transport) }
    }
}

#[async_trait]
impl Funds for Billing {
    async fn hold(
        &self,
        organisation: OrganisationId,
        batch: BatchId,
        wanted: i64,
    ) -> Result<i64, FundsUnavailable> {
        let request = Request::new(HoldRequest {
            organisation_id: organisation.to_string(),
            batch_id: batch.to_string(),
            wanted,
        });
        let mut client = self.client.clone();
        match tokio::time::timeout(TIMEOUT, client.hold(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner().granted),
            Ok(Err(status)) => Err(FundsUnavailable(status.message().to_owned())),
            Err(_) => Err(FundsUnavailable("no answer in time".into())),
        }
    }
}
