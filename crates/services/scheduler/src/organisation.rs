//! An organisation changed: its document is kept, and as its zone may be another one, what it has
//! waiting is looked at again.

use async_trait::async_trait;
use carillon_contracts::{events::v1::Event, ids::OrganisationId};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use crate::{Scheduler, store};

pub(crate) struct KeepOrganisation(pub Scheduler);

#[async_trait]
impl Handler for KeepOrganisation {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        self.0.tenancy.handle(tx, event).await?;
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| HandlerError::Event(error.to_string()))?;
        Ok(store::look_again(tx, organisation, self.0.clock.now()).await?)
    }

    fn committed(&self) {
        self.0.due.notify_one();
    }
}
