//! Blacklist: who gets nothing, whatever else is said of them.

use carillon_contracts::{
    audience::v1::{Customer, SetBlacklistedRequest},
    ids::OrganisationId,
};
use carillon_service_kit::status::internal;
use sea_orm::DbErr;
use tonic::Status;

use crate::{Evaluator, store};

impl Evaluator {
    pub(crate) async fn set_blacklisted(
        &self,
        organisation: OrganisationId,
        request: SetBlacklistedRequest,
    ) -> Result<Customer, Status> {
        let external_id = self.find(organisation, request.identifier).await?.external_id;
        self.blacklist(organisation, &external_id, request.blacklisted).await.map_err(internal)?;
        self.customer(organisation, &external_id).await
    }

    async fn blacklist(
        &self,
        organisation: OrganisationId,
        external_id: &str,
        blacklisted: bool,
    ) -> Result<(), DbErr> {
        let at = self.clock.now_ms();
        let tx = self.database.begin().await?;
        store::set_blacklisted(&tx, organisation, external_id, blacklisted, at).await?;
        tx.commit().await
    }
}
