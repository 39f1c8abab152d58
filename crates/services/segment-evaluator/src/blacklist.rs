//! Blacklist: who gets nothing, whatever else is said of them.

use carillon_contracts::{
    audience::v1::{Customer, SetBlacklistedRequest},
    ids::OrganisationId,
};
use tonic::Status;

use crate::Evaluator;

impl Evaluator {
    /// Answers once dispatchers have heard of it, or after 2 s.
    pub(crate) async fn set_blacklisted(
        &self,
        organisation: OrganisationId,
        request: SetBlacklistedRequest,
    ) -> Result<Customer, Status> {
        let external_id = self.find(organisation, request.identifier).await?.external_id;
        let ids = [external_id.clone()];
        let set = |standing: &mut crate::domain::standing::Standing| {
            standing.blacklisted = request.blacklisted;
        };
        let changed = self.change_standings(organisation, &ids, set).await?;
        let in_effect = Some(self.in_effect(changed.told).await);
        let customer = self.customer(organisation, &external_id).await?;
        Ok(Customer { in_effect, ..customer })
    }
}
