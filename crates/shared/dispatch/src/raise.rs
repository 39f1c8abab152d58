//! `balance.raised`: batches that wait for credits ask again at once.

use async_trait::async_trait;
use carillon_contracts::{events::v1::Event, ids::OrganisationId};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use crate::store;

pub(crate) struct Raise;

#[async_trait]
impl Handler for Raise {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| HandlerError::Event(error.to_string()))?;
        Ok(store::money_arrived(tx, organisation).await?)
    }
}
