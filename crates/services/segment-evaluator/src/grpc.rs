//! The way in: who asks, and which verb answers.

use std::sync::{Arc, atomic::AtomicBool};

use carillon_contracts::{
    audience::v1::{
        CheckAudienceRequest, CheckAudienceResponse, ConfirmSubscriptionRequest,
        CountCustomersRequest, CountCustomersResponse, Customer, ForecastAudienceRequest,
        GetCustomerRequest, ImportActivitiesRequest, ImportCustomersRequest, ImportResponse,
        ListCustomersRequest, ListCustomersResponse, OptOutRequest, OptOutResponse,
        PreviewContentRequest, ResolveCustomersRequest, ResolveCustomersResponse,
        SetBlacklistedRequest, SetSubscriptionRequest, SetSubscriptionResponse,
        UpdateCustomerRequest, activity_service_server::ActivityService,
        audience_service_server::AudienceService, customer_service_server::CustomerService,
    },
    campaign::v1::{Forecast, Preview},
    ids::OrganisationId,
};
use carillon_service_kit::status::invalid;
use carillon_tenancy::{Caller, Tenancy, hash_key};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{Evaluator, find::to_wire, hex};

/// Bytes of a key's hash that name it in the log of consent.
const KEY_PREFIX: usize = 4;

type Responses = BoxStream<'static, Result<ImportResponse, Status>>;

#[tonic::async_trait]
impl CustomerService for Evaluator {
    type ImportCustomersStream = Responses;

    async fn update_customer(
        &self,
        request: Request<UpdateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        let by = key_prefix(request.metadata())?;
        self.update_customer(&caller, request.into_inner(), &by).await.map(Response::new)
    }

    async fn import_customers(
        &self,
        request: Request<Streaming<ImportCustomersRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let late = Arc::new(AtomicBool::default());
        self.answers(request, move |evaluator, caller, request| {
            let late = Arc::clone(&late);
            async move { evaluator.import_customers(&caller, request, &late).await }
        })
        .await
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        let record = self.find(organisation, request.into_inner().identifier).await?;
        Ok(Response::new(to_wire(record)))
    }

    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        self.list_customers(organisation, request.into_inner()).await.map(Response::new)
    }

    async fn count_customers(
        &self,
        request: Request<CountCustomersRequest>,
    ) -> Result<Response<CountCustomersResponse>, Status> {
        let organisation = self.tenancy.caller(request.metadata()).await?.organisation;
        let count = self.count_customers(organisation, &request.into_inner().filter).await?;
        Ok(Response::new(CountCustomersResponse { count }))
    }

    async fn set_subscription(
        &self,
        request: Request<SetSubscriptionRequest>,
    ) -> Result<Response<SetSubscriptionResponse>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.set_subscription(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn confirm_subscription(
        &self,
        request: Request<ConfirmSubscriptionRequest>,
    ) -> Result<Response<Customer>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.confirm_subscription(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn set_blacklisted(
        &self,
        request: Request<SetBlacklistedRequest>,
    ) -> Result<Response<Customer>, Status> {
        let caller = self.tenancy.caller(request.metadata()).await?;
        self.set_blacklisted(&caller, request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl ActivityService for Evaluator {
    type ImportActivitiesStream = Responses;

    async fn import_activities(
        &self,
        request: Request<Streaming<ImportActivitiesRequest>>,
    ) -> Result<Response<Responses>, Status> {
        self.answers(request, |evaluator, caller, request| async move {
            evaluator.import_activities(&caller, request).await
        })
        .await
    }
}

#[tonic::async_trait]
impl AudienceService for Evaluator {
    async fn check_audience(
        &self,
        request: Request<CheckAudienceRequest>,
    ) -> Result<Response<CheckAudienceResponse>, Status> {
        let request = request.into_inner();
        let organisation = named(&request.organisation_id)?;
        let count = self.check_audience(organisation, request.audience.as_ref()).await?;
        Ok(Response::new(CheckAudienceResponse { count }))
    }

    async fn forecast_audience(
        &self,
        request: Request<ForecastAudienceRequest>,
    ) -> Result<Response<Forecast>, Status> {
        let request = request.into_inner();
        let organisation = named(&request.organisation_id)?;
        self.forecast(organisation, request).await.map(Response::new)
    }

    async fn preview_content(
        &self,
        request: Request<PreviewContentRequest>,
    ) -> Result<Response<Preview>, Status> {
        let request = request.into_inner();
        let organisation = named(&request.organisation_id)?;
        self.preview(organisation, request).await.map(Response::new)
    }

    async fn opt_out(
        &self,
        request: Request<OptOutRequest>,
    ) -> Result<Response<OptOutResponse>, Status> {
        self.opt_out(request.into_inner()).await.map(Response::new)
    }

    async fn resolve_customers(
        &self,
        request: Request<ResolveCustomersRequest>,
    ) -> Result<Response<ResolveCustomersResponse>, Status> {
        let request = request.into_inner();
        let organisation = named(&request.organisation_id)?;
        self.resolve_customers(organisation, &request.customer_ids).await.map(Response::new)
    }
}

/// Other services of Carillon name the organisation themselves.
fn named(organisation: &str) -> Result<OrganisationId, Status> {
    organisation.parse().map_err(|error| invalid("organisation_id", format!("{error}")))
}

fn key_prefix(metadata: &MetadataMap) -> Result<String, Status> {
    let hash = hash_key(Tenancy::bearer(metadata)?);
    Ok(hex::encode(&hash[..KEY_PREFIX]))
}

impl Evaluator {
    /// One answer a request, in order; the first refused request ends the stream. Each is asked for
    /// its key: one that is revoked meanwhile stores nothing more.
    async fn answers<T, F, Fut>(
        &self,
        requests: Request<Streaming<T>>,
        answer: F,
    ) -> Result<Response<Responses>, Status>
    where
        T: Send + 'static,
        F: Fn(Self, Caller, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ImportResponse, Status>> + Send + 'static,
    {
        let (metadata, _, requests) = requests.into_parts();
        self.tenancy.caller(&metadata).await?;
        let given = (self.clone(), metadata, requests, answer);
        let responses = stream::unfold(Some(given), |given| async move {
            let (evaluator, metadata, mut requests, answer) = given?;
            let request = requests.message().await.transpose()?;
            let answered = async {
                let request = request?;
                let caller = evaluator.tenancy.caller(&metadata).await?;
                answer(evaluator.clone(), caller, request).await
            };
            let answered = answered.await;
            let given = answered.is_ok().then_some((evaluator, metadata, requests, answer));
            Some((answered, given))
        });
        Ok(Response::new(responses.boxed()))
    }
}
