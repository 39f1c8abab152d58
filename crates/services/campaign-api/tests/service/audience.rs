//! A segment evaluator that knows a few customers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use carillon_contracts::{
    audience::v1::{
        CheckAudienceRequest, CheckAudienceResponse, ForecastAudienceRequest, OptOutRequest,
        OptOutResponse, PreviewContentRequest, ResolveCustomersRequest, ResolveCustomersResponse,
        ResolvedCustomer,
        audience_service_server::{AudienceService, AudienceServiceServer},
    },
    campaign::v1::{Forecast, Preview, SmsPreview, audience::Selection},
    ids::{CustomerId, OrganisationId, unpack_customers},
};
use carillon_service_kit::{
    rpc::{Transport, in_process},
    status::{FieldError, invalid, invalid_fields, not_found},
};
use tonic::{Request, Response, Status, service::Routes};

/// Every organisation has the same customers, by external id.
#[derive(Clone, Default)]
pub struct Customers {
    external_ids: Arc<Vec<String>>,
    opted_out: Arc<Mutex<Vec<OptOutRequest>>>,
    down: Arc<AtomicBool>,
    late: Arc<AtomicBool>,
}

impl Customers {
    pub fn new(external_ids: impl IntoIterator<Item = String>) -> Self {
        let external_ids = Arc::new(external_ids.into_iter().collect());
        Self { external_ids, ..Self::default() }
    }

    pub fn opted_out(&self) -> Vec<OptOutRequest> {
        self.opted_out.lock().expect("not poisoned").clone()
    }

    /// Answers no opt-out from now on, or again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Stores opt-outs from now on, and does not see them in effect in time.
    pub fn set_late(&self) {
        self.late.store(true, Ordering::SeqCst);
    }

    pub fn transport(&self) -> Transport {
        in_process(Routes::new(AudienceServiceServer::new(self.clone())))
    }

    fn has(&self, external_id: &str) -> bool {
        self.external_ids.iter().any(|known| known == external_id)
    }
}

fn organisation(id: &str) -> Result<OrganisationId, Status> {
    id.parse().map_err(|error| invalid("organisation_id", format!("{error}")))
}

#[tonic::async_trait]
impl AudienceService for Customers {
    async fn check_audience(
        &self,
        request: Request<CheckAudienceRequest>,
    ) -> Result<Response<CheckAudienceResponse>, Status> {
        let request = request.into_inner();
        organisation(&request.organisation_id)?;
        match request.audience.and_then(|audience| audience.selection) {
            Some(Selection::Filter(filter)) if filter.contains("categroy") => {
                Err(invalid("filter", "'categroy' is not a field; did you mean 'category'?"))
            }
            Some(Selection::Filter(filter)) if filter == "down" => {
                Err(Status::unknown("connection reset"))
            }
            Some(Selection::Customers(list)) => {
                let unknown = list.external_ids.iter().filter(|id| !self.has(id));
                let errors: Vec<FieldError> = unknown
                    .map(|id| FieldError::new("customers", format!("'{id}' is no customer")))
                    .collect();
                if errors.is_empty() {
                    let count = list.external_ids.len() as u64;
                    Ok(Response::new(CheckAudienceResponse { count }))
                } else {
                    Err(invalid_fields(errors))
                }
            }
            _ => Ok(Response::new(CheckAudienceResponse { count: self.external_ids.len() as u64 })),
        }
    }

    async fn forecast_audience(
        &self,
        request: Request<ForecastAudienceRequest>,
    ) -> Result<Response<Forecast>, Status> {
        let request = request.into_inner();
        organisation(&request.organisation_id)?;
        let channels = request.content.map_or(0, |content| {
            u64::from(content.sms.is_some()) + u64::from(content.email.is_some())
        });
        let customers = self.external_ids.len() as u64;
        let matched = customers * channels;
        Ok(Response::new(Forecast { customers, matched, planned: matched, ..Default::default() }))
    }

    async fn preview_content(
        &self,
        request: Request<PreviewContentRequest>,
    ) -> Result<Response<Preview>, Status> {
        let request = request.into_inner();
        organisation(&request.organisation_id)?;
        if !self.has(&request.customer) {
            return Err(not_found("no such customer"));
        }
        let sms = request.content.and_then(|content| content.sms);
        let sms = sms.map(|sms| SmsPreview { text: sms.text, ..Default::default() });
        Ok(Response::new(Preview { sms, email: None }))
    }

    async fn opt_out(
        &self,
        request: Request<OptOutRequest>,
    ) -> Result<Response<OptOutResponse>, Status> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("connection refused"));
        }
        self.opted_out.lock().expect("not poisoned").push(request.into_inner());
        Ok(Response::new(OptOutResponse { in_effect: !self.late.load(Ordering::SeqCst) }))
    }

    async fn resolve_customers(
        &self,
        request: Request<ResolveCustomersRequest>,
    ) -> Result<Response<ResolveCustomersResponse>, Status> {
        let request = request.into_inner();
        let organisation = organisation(&request.organisation_id)?;
        let asked = unpack_customers(&request.customer_ids)
            .map_err(|error| invalid("customer_ids", error.to_string()))?;
        if asked.len() > 1_000 {
            return Err(invalid("customer_ids", "more than 1,000"));
        }
        let known: BTreeMap<CustomerId, &String> =
            self.external_ids.iter().map(|id| (CustomerId::of(organisation, id), id)).collect();
        let customers = asked
            .into_iter()
            .filter_map(|id| {
                let external_id = (*known.get(&id)?).clone();
                Some(ResolvedCustomer { customer_id: id.to_wire().to_vec(), external_id })
            })
            .collect();
        Ok(Response::new(ResolveCustomersResponse { customers }))
    }
}
