//! Blacklist: who gets nothing, whatever else is said of them.

use carillon_audit::acts;
use carillon_contracts::audience::v1::{Customer, SetBlacklistedRequest};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{Evaluator, standing::Asked};

impl Evaluator {
    /// Answers once dispatchers have heard of it, or after 2 s.
    pub(crate) async fn set_blacklisted(
        &self,
        caller: &Caller,
        request: SetBlacklistedRequest,
    ) -> Result<Customer, Status> {
        let organisation = caller.organisation;
        let external_id = self.find(organisation, request.identifier).await?.external_id;
        let ids = [external_id.clone()];
        let set = |standing: &mut crate::domain::standing::Standing| {
            standing.blacklisted = request.blacklisted;
        };
        let act = match request.blacklisted {
            true => acts::CUSTOMER_BLACKLISTED,
            false => acts::CUSTOMER_UNBLACKLISTED,
        };
        let asked = Asked { act, channels: &[], of_many: false };
        let changed = self.change_standings(caller, &ids, &asked, set).await?;
        let in_effect = Some(self.in_effect(changed.told).await);
        let customer = self.customer(organisation, &external_id).await?;
        Ok(Customer { in_effect, ..customer })
    }
}
