//! Update the settings of an organisation that a mask names.

use carillon_audit::acts;
use carillon_contracts::campaign::v1::{Organisation, UpdateOrganisationRequest};
use carillon_service_kit::status::{internal, invalid, invalid_fields, permission_denied};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{
        audited, mask,
        organisation::{self, SETTABLE},
    },
    grpc::no_organisation,
    store::{self, OrganisationRow},
};

impl CampaignApi {
    pub(crate) async fn update_organisation(
        &self,
        caller: &Caller,
        request: UpdateOrganisationRequest,
    ) -> Result<Organisation, Status> {
        let id = caller.organisation;
        let UpdateOrganisationRequest { organisation: given, update_mask } = request;
        if update_mask.as_ref().is_none_or(|mask| mask.paths.is_empty()) {
            let rule = format!("is missing; name what to set: {}", SETTABLE.join(", "));
            return Err(invalid("update_mask", rule));
        }
        let paths = mask::paths(update_mask.as_ref(), SETTABLE).map_err(invalid_fields)?;
        let given = given.unwrap_or_default();
        if !given.id.is_empty() && given.id.parse() != Ok(id) {
            return Err(permission_denied(
                "OTHER_ORGANISATION",
                "organisation.id: names another organisation than the key's; leave it out",
            ));
        }
        let tx = self.database.begin().await.map_err(internal)?;
        let row = store::locked_organisation(&tx, id).await.map_err(internal)?;
        let row = row.ok_or_else(|| no_organisation(id))?;
        let merged = organisation::merged(&row.organisation, given, &paths);
        let organisation = organisation::checked(merged).map_err(invalid_fields)?;
        if organisation == row.organisation {
            drop(tx);
            return Ok(self.answered(row).await);
        }
        let change = audited::settings_changed(&row.organisation, &organisation);
        let row = OrganisationRow { organisation, ..row };
        let row = self.store_changed(&tx, row).await.map_err(internal)?;
        let (act, subject) = (acts::ORGANISATION_UPDATED, "organisation".to_owned());
        self.record(&tx, caller, act, subject, change).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(self.answered(row).await)
    }
}
