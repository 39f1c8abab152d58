//! Low balance: an alert, once, when the account has fewer credits than the organisation asked to
//! be told of.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{BalanceLow, Event, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_tenancy::Tenancy;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{Billing, domain::ledger::Ledger, store};

/// Settings changed: they are kept, and the account is looked at again under them.
pub(crate) struct Settings(pub Billing);

#[async_trait]
impl Handler for Settings {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        self.0.tenancy.handle(tx, event).await?;
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| HandlerError::Event(error.to_string()))?;
        let mut ledger = store::lock_account(tx, organisation).await?;
        ledger.lift(low_balance(tx, organisation).await?);
        self.0.tell_low(tx, organisation, &mut ledger).await?;
        Ok(store::save_account(tx, organisation, &ledger.account).await?)
    }

    fn committed(&self) {
        self.0.outbox.wake();
    }
}

impl Billing {
    /// The account is locked, and saved by the caller.
    pub(crate) async fn tell_low(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        ledger: &mut Ledger,
    ) -> Result<(), DbErr> {
        let low_balance = low_balance(tx, organisation).await?;
        if !ledger.falls_low(low_balance) {
            return Ok(());
        }
        let available = ledger.account.available;
        let body = Body::BalanceLow(BalanceLow {
            available: available.cast_unsigned(),
            low_balance: low_balance.cast_unsigned(),
        });
        self.outbox.append(tx, organisation, body).await?;
        tracing::warn!(%organisation, available, "balance low");
        Ok(())
    }
}

/// As it stands while the account is locked, so that a change of it is heeded by whoever comes
/// second.
pub(crate) async fn low_balance(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<i64, DbErr> {
    let settings = Tenancy::organisation_within(tx, organisation).await?;
    Ok(settings.unwrap_or_default().low_balance)
}
