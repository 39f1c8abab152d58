//! The one service asked while somebody waits: whom an audience holds. Its errors come back as
//! ours, with the fields of the request that the caller made.

use std::{collections::HashMap, time::Duration};

use carillon_contracts::{
    audience::v1::{
        CheckAudienceRequest, ForecastAudienceRequest, OptOutRequest, PreviewContentRequest,
        ResolveCustomersRequest, audience_service_client::AudienceServiceClient,
    },
    campaign::v1::{self as campaign, Forecast, Preview, audience::Selection},
    ids::{CustomerId, OrganisationId, pack_customers},
    jobs::v1::{Channel, Content},
};
use carillon_service_kit::{
    rpc::Transport,
    status::{FieldError, internal, not_found, unavailable},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const RETRY: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Audience(AudienceServiceClient<Transport>);

/// Why an audience was not found good.
pub(crate) enum CheckError {
    /// It is wrong.
    Fields(Vec<FieldError>),
    /// It could not be checked.
    Status(Status),
}

impl Audience {
    pub(crate) fn new(transport: Transport) -> Self {
        Self(AudienceServiceClient::new(transport))
    }

    /// Validates a filter or a list of customers.
    pub(crate) async fn check(
        &self,
        organisation: OrganisationId,
        audience: &campaign::Audience,
    ) -> Result<(), CheckError> {
        let field = match audience.selection {
            Some(Selection::Filter(_)) => "audience.filter",
            Some(Selection::Customers(_)) => "audience.customers",
            Some(Selection::Everyone(_)) | None => return Ok(()),
        };
        let request = CheckAudienceRequest {
            organisation_id: organisation.to_string(),
            audience: Some(audience.clone()),
        };
        match self.0.clone().check_audience(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::InvalidArgument => {
                Err(CheckError::Fields(violations(&status, field)))
            }
            Err(status) => Err(CheckError::Status(relay(&status))),
        }
    }

    pub(crate) async fn forecast(
        &self,
        organisation: OrganisationId,
        audience: Option<campaign::Audience>,
        content: Option<Content>,
    ) -> Result<Forecast, Status> {
        let organisation_id = organisation.to_string();
        let request = ForecastAudienceRequest { organisation_id, audience, content };
        let answer = self.0.clone().forecast_audience(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| relay(&status))
    }

    pub(crate) async fn preview(
        &self,
        organisation: OrganisationId,
        customer: String,
        content: Option<Content>,
    ) -> Result<Preview, Status> {
        let unknown = format!(
            "customer: there is no customer '{customer}'; give the external id of one that \
             `carillon customers list` shows"
        );
        let organisation_id = organisation.to_string();
        let request = PreviewContentRequest { organisation_id, customer, content };
        match self.0.clone().preview_content(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if status.code() == Code::NotFound => Err(not_found(unknown)),
            Err(status) => Err(relay(&status)),
        }
    }

    /// Answers whether nothing more leaves; otherwise it is stored, and soon will hold.
    pub(crate) async fn opt_out(
        &self,
        organisation: OrganisationId,
        customer: CustomerId,
        channel: Channel,
    ) -> Result<bool, Status> {
        let request = OptOutRequest {
            organisation_id: organisation.uuid().as_bytes().to_vec(),
            customer_id: customer.uuid().as_bytes().to_vec(),
            channel: channel.into(),
        };
        let answer = self.0.clone().opt_out(request).await;
        answer.map(|answer| answer.into_inner().in_effect).map_err(|status| relay(&status))
    }

    /// External ids of 1,000 customers at most; those that are not known any more are left out.
    pub(crate) async fn external_ids(
        &self,
        organisation: OrganisationId,
        customers: impl IntoIterator<Item = CustomerId>,
    ) -> Result<HashMap<CustomerId, String>, Status> {
        let customer_ids = pack_customers(customers).to_vec();
        if customer_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let organisation_id = organisation.to_string();
        let request = ResolveCustomersRequest { organisation_id, customer_ids };
        let answer = self.0.clone().resolve_customers(request).await;
        let answer = answer.map_err(|status| relay(&status))?;
        let customers = answer.into_inner().customers.into_iter();
        customers
            .map(|one| {
                let id = CustomerId::from_wire(&one.customer_id).map_err(internal)?;
                Ok((id, one.external_id))
            })
            .collect()
    }
}

/// What the evaluator found wrong, under the field that the caller set.
fn violations(status: &Status, field: &str) -> Vec<FieldError> {
    let details = status.get_details_bad_request().map(|details| details.field_violations);
    let named = |given: String| if given.starts_with(field) { given } else { field.to_owned() };
    let found: Vec<FieldError> = details
        .unwrap_or_default()
        .into_iter()
        .map(|violation| FieldError::new(named(violation.field), violation.description))
        .collect();
    if found.is_empty() { vec![FieldError::new(field, status.message())] } else { found }
}

fn relay(status: &Status) -> Status {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition => {
            Status::with_details(status.code(), status.message(), status.details().to_vec().into())
        }
        Code::Internal => internal(format!("the segment evaluator failed: {}", status.message())),
        code => {
            tracing::warn!(
                ?code,
                message = status.message(),
                "the segment evaluator did not answer"
            );
            unavailable("customers can't be read at the moment; try again in a few seconds", RETRY)
        }
    }
}
