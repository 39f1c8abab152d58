//! Billing behind the port: one call a batch.

use std::time::Duration;

use async_trait::async_trait;
use carillon_contracts::billing::v1::{HoldRequest, hold_service_client::HoldServiceClient};
use carillon_dispatch::{Ask, Funds, FundsUnavailable};
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
    async fn hold(&self, ask: Ask) -> Result<i64, FundsUnavailable> {
        // Most texts are of one part, and need no list.
        let of_one_each = ask.units.iter().all(|units| *units == 1);
        let request = Request::new(HoldRequest {
            organisation_id: ask.organisation.to_string(),
            batch_id: ask.batch.to_string(),
            wanted: ask.wanted,
            campaign_id: ask.campaign.to_string(),
            run_id: ask.run.to_string(),
            used: ask.used,
            units: if of_one_each { Vec::new() } else { ask.units },
        });
        let mut client = self.client.clone();
        match tokio::time::timeout(TIMEOUT, client.hold(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner().granted),
            Ok(Err(status)) => Err(FundsUnavailable(status.message().to_owned())),
            Err(_) => Err(FundsUnavailable("no answer in time".into())),
        }
    }
}
