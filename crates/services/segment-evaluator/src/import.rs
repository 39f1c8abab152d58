//! Import: many customers, request by request, and changes of one.

use std::sync::atomic::{AtomicBool, Ordering};

use carillon_contracts::{
    audience::v1::{
        Customer, Identifier, ImportCustomersRequest, ImportResponse, Reject,
        UpdateCustomerRequest, identifier::By,
    },
    limits::IMPORT_ROWS,
};
use carillon_service_kit::status::{FieldError, already_exists, invalid};
use carillon_tenancy::Caller;
use prost_types::FieldMask;
use tonic::Status;

use crate::{
    Evaluator,
    domain::{fault::Fault, mask::Mask},
    upsert::{BY_IMPORT, Outcome, Upsert},
};

impl Evaluator {
    /// One request of an import. `late` is of the whole import: once a request was not in effect in
    /// time, those after it do not wait.
    pub(crate) async fn import_customers(
        &self,
        caller: &Caller,
        request: ImportCustomersRequest,
        late: &AtomicBool,
    ) -> Result<ImportResponse, Status> {
        check_rows("customers", request.customers.len())?;
        let mask = mask(request.update_mask)?;
        let upsert = Upsert { caller, mask: &mask, by: BY_IMPORT };
        let outcome = self.upsert(&upsert, request.customers).await?;
        let in_effect = match outcome.told {
            None => None,
            Some(_) if late.load(Ordering::Relaxed) => Some(false),
            told => Some(self.in_effect(told).await),
        };
        late.fetch_or(in_effect == Some(false), Ordering::Relaxed);
        Ok(ImportResponse { in_effect, ..outcome.into() })
    }

    /// `by` names the caller in the log of consent.
    pub(crate) async fn update_customer(
        &self,
        caller: &Caller,
        request: UpdateCustomerRequest,
        by: &str,
    ) -> Result<Customer, Status> {
        let organisation = caller.organisation;
        let customer = request
            .customer
            .ok_or_else(|| invalid("customer", "is missing; give the customer to change"))?;
        let mask = mask(request.update_mask)?;
        let external_id = customer.external_id.clone();
        if !request.allow_missing && !external_id.is_empty() {
            let by = Some(By::ExternalId(external_id.clone()));
            self.find(organisation, Some(Identifier { by })).await?;
        }
        let upsert = Upsert { caller, mask: &mask, by };
        let mut outcome = self.upsert(&upsert, vec![customer]).await?;
        match outcome.rejects.pop() {
            Some((_, fault)) => Err(refusal(fault)),
            None => {
                // A change of a name, say, is nothing that a dispatcher must hear of.
                let concerns = outcome.told.is_some() || outcome.unchanged > 0;
                let in_effect = match concerns {
                    true => Some(self.in_effect(outcome.told).await),
                    false => None,
                };
                let customer = self.customer(organisation, &external_id).await?;
                Ok(Customer { in_effect, ..customer })
            }
        }
    }
}

pub(crate) fn check_rows(field: &str, rows: usize) -> Result<(), Status> {
    if rows <= IMPORT_ROWS {
        return Ok(());
    }
    Err(invalid(field, format!("holds {rows} rows; send {IMPORT_ROWS} at most in a request")))
}

fn mask(mask: Option<FieldMask>) -> Result<Mask, FieldError> {
    Mask::new(&mask.unwrap_or_default().paths)
}

fn refusal(fault: Fault) -> Status {
    let Fault { field, reason, message } = fault;
    if reason == "card_taken" {
        return already_exists("CARD_TAKEN", format!("customer.{field}: {message}"));
    }
    invalid(format!("customer.{field}"), message)
}

impl From<Outcome> for ImportResponse {
    fn from(outcome: Outcome) -> Self {
        let reject = |(index, fault): (usize, Fault)| Reject {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            field: fault.field.into_owned(),
            reason: fault.reason.into_owned(),
            message: fault.message.into_owned(),
        };
        Self {
            stored: outcome.stored,
            unchanged: outcome.unchanged,
            rejects: outcome.rejects.into_iter().map(reject).collect(),
            in_effect: None,
        }
    }
}
