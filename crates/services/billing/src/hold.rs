//! Hold: raises what a batch may spend, towards what it wanted first, as far as there is money and
//! whole messages can be paid with it.

use carillon_service_kit::faults;
use sea_orm::DbErr;

use crate::{
    Billing,
    domain::{
        hold::{HoldRow, Need, Whose},
        ledger::Kind,
    },
    store::{self, Reference},
};

impl Billing {
    /// The cumulative grant. Asking again never grants twice.
    pub(crate) async fn hold_units(
        &self,
        whose: Whose,
        wanted: i64,
        need: &Need,
    ) -> Result<i64, DbErr> {
        let Whose { organisation, batch, .. } = whose;
        let tx = self.database.begin().await?;
        let mut ledger = store::lock_account(&tx, organisation).await?;
        let known = store::hold(&tx, organisation, batch).await?;
        let mut row = known.unwrap_or_else(|| HoldRow::wanting(wanted));
        if row.wanted == 0 {
            // Its totals came first: a call before this one did not reach us.
            row.wanted = wanted;
        }
        let raise = row.raise(need, ledger.account.available);
        row.granted += raise;
        if known != Some(row) {
            store::save_hold(&tx, whose, row).await?;
        }
        if raise > 0 {
            ledger.post(Kind::Hold, raise);
            self.tell_low(&tx, organisation, &mut ledger).await?;
            let at_ms = self.clock.now_ms();
            store::save(&tx, organisation, ledger, Reference::Batch(batch), at_ms).await?;
        }
        faults::commit(tx, "billing.hold").await?;
        self.outbox.wake();
        Ok(row.ever_granted())
    }
}
