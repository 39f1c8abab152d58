//! Hold: raises what a batch may spend, towards what it wanted first, as far as there is money.

use carillon_contracts::{
    events::v1::{BalanceLow, event::Body},
    ids::{BatchId, OrganisationId},
};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Billing,
    domain::{
        hold::HoldRow,
        ledger::{Kind, Ledger},
    },
    store::{self, Reference},
};

impl Billing {
    /// The cumulative grant. Asking again never grants twice.
    pub(crate) async fn hold_units(
        &self,
        organisation: OrganisationId,
        batch: BatchId,
        wanted: i64,
    ) -> Result<i64, DbErr> {
        let tx = self.database.begin().await?;
        let mut ledger = store::lock_account(&tx, organisation).await?;
        let known = store::hold(&tx, organisation, batch).await?;
        let mut row = known.unwrap_or_else(|| HoldRow::wanting(wanted));
        if row.wanted == 0 {
            // Its totals came first: a call before this one did not reach us.
            row.wanted = wanted;
        }
        let raise = row.short().min(ledger.account.available);
        row.granted += raise;
        if known != Some(row) {
            store::save_hold(&tx, organisation, batch, row).await?;
        }
        if raise > 0 {
            ledger.post(Kind::Hold, raise);
            self.tell_low(&tx, organisation, &mut ledger).await?;
            let at_ms = self.clock.now_ms();
            store::save(&tx, organisation, ledger, Reference::Batch(batch), at_ms).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(row.granted)
    }

    /// Once, when the account falls below what the organisation set; a credit that lifts it makes
    /// room for the next alert.
    async fn tell_low(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        ledger: &mut Ledger,
    ) -> Result<(), DbErr> {
        let settings = self.tenancy.organisation(organisation).await?.unwrap_or_default();
        let account = &mut ledger.account;
        if account.low || account.available >= settings.low_balance {
            return Ok(());
        }
        account.low = true;
        let body = Body::BalanceLow(BalanceLow {
            available: account.available.cast_unsigned(),
            low_balance: settings.low_balance.cast_unsigned(),
        });
        self.outbox.append(tx, organisation, body).await?;
        tracing::warn!(%organisation, account.available, "balance low");
        Ok(())
    }
}
