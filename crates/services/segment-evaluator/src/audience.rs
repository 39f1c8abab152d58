//! Audience: who a campaign means, counted before it is started, and named when a report is read.

use std::collections::HashSet;

use carillon_contracts::{
    audience::v1::{ResolveCustomersResponse, ResolvedCustomer},
    campaign::v1::Audience,
    ids::{CustomerId, OrganisationId, unpack_customers},
};
use carillon_service_kit::status::{internal, invalid};
use tonic::Status;

use crate::{Evaluator, domain::filter::Selection, store};

const MOST_RESOLVED: usize = 1_000;
const UNKNOWN_NAMED: usize = 5;

impl Evaluator {
    /// How many customers it holds. A list must name customers that exist.
    pub(crate) async fn check_audience(
        &self,
        organisation: OrganisationId,
        audience: Option<&Audience>,
    ) -> Result<u64, Status> {
        let selection = Selection::of_audience(audience)?;
        let reader = self.database.reader();
        let Selection::Customers(ids) = &selection else {
            return store::count(reader, organisation, &selection).await.map_err(internal);
        };
        let known = store::external_ids(reader, organisation, ids).await.map_err(internal)?;
        let known: HashSet<String> = known.into_iter().collect();
        let unknown: Vec<&str> =
            ids.iter().filter(|id| !known.contains(*id)).map(String::as_str).collect();
        if unknown.is_empty() {
            return Ok(known.len() as u64);
        }
        let named = unknown[..unknown.len().min(UNKNOWN_NAMED)].join("', '");
        let more = unknown.len().saturating_sub(UNKNOWN_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(invalid(
            "audience.customers",
            format!("'{named}'{more} are not customers; import them first or leave them out"),
        ))
    }

    /// Unknown ids, and those of other organisations, are left out.
    pub(crate) async fn resolve_customers(
        &self,
        organisation: OrganisationId,
        packed: &[u8],
    ) -> Result<ResolveCustomersResponse, Status> {
        let ids = unpack_customers(packed)
            .map_err(|error| invalid("customer_ids", format!("{error}; 16 bytes an id")))?;
        if ids.len() > MOST_RESOLVED {
            let rule = format!("holds {} ids; send {MOST_RESOLVED} at most", ids.len());
            return Err(invalid("customer_ids", rule));
        }
        let found = store::resolve(self.database.reader(), organisation, &ids).await;
        let customers = found
            .map_err(internal)?
            .into_iter()
            .map(|(id, external_id)| ResolvedCustomer {
                customer_id: CustomerId::new(id).to_wire().to_vec(),
                external_id,
            })
            .collect();
        Ok(ResolveCustomersResponse { customers })
    }
}
