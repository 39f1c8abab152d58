//! The way in: who asks, and which verb answers.

use std::str::FromStr;

use carillon_contracts::{
    billing::v1::{
        Account, CreditAccountRequest, GetAccountRequest, HoldRequest, HoldResponse,
        ListEntriesRequest, ListEntriesResponse, ListHoldsRequest, ListHoldsResponse,
        ListPackagesRequest, ListPackagesResponse, account_service_server::AccountService,
        hold_service_server::HoldService,
    },
    ids::InvalidId,
};
use carillon_service_kit::status::{internal, invalid};
use tonic::{Request, Response, Status};

use crate::{
    Billing,
    domain::hold::{Need, Whose},
    store,
};

#[tonic::async_trait]
impl AccountService for Billing {
    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<Account>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        let settings = self.tenancy.organisation(organisation).await.map_err(internal)?;
        let low_balance = settings.unwrap_or_default().low_balance;
        let account = store::account(self.database.reader(), organisation).await;
        Ok(Response::new(Account { low_balance, ..account.map_err(internal)? }))
    }

    async fn credit_account(
        &self,
        request: Request<CreditAccountRequest>,
    ) -> Result<Response<Account>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.credit(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.statement(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn list_holds(
        &self,
        request: Request<ListHoldsRequest>,
    ) -> Result<Response<ListHoldsResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_holds(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn list_packages(
        &self,
        request: Request<ListPackagesRequest>,
    ) -> Result<Response<ListPackagesResponse>, Status> {
        self.tenancy.caller(request.metadata()).await?;
        Ok(Response::new(ListPackagesResponse { packages: self.packages.to_vec() }))
    }
}

#[tonic::async_trait]
impl HoldService for Billing {
    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<HoldResponse>, Status> {
        let request = request.into_inner();
        let whose = Whose {
            organisation: id("organisation_id", &request.organisation_id)?,
            batch: id("batch_id", &request.batch_id)?,
            campaign: optional_id("campaign_id", &request.campaign_id)?,
            run: optional_id("run_id", &request.run_id)?,
        };
        let HoldRequest { wanted, used, units, .. } = request;
        for (field, value) in [("wanted", wanted), ("used", used)] {
            if value < 0 {
                return Err(invalid(field, format!("{value} is negative")));
            }
        }
        let need = Need { used, units };
        let granted = self.hold_units(whose, wanted, &need).await.map_err(internal)?;
        Ok(Response::new(HoldResponse { granted }))
    }
}

fn id<T: FromStr<Err = InvalidId>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: InvalidId| invalid(field, error.to_string()))
}

pub(crate) fn optional_id<T: FromStr<Err = InvalidId>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}
