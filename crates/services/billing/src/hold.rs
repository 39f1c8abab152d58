//! Hold: raises what a batch may spend, towards what it wanted first, as far as there is money.

use carillon_contracts::ids::{BatchId, OrganisationId};
use sea_orm::DbErr;

use crate::{
    Billing,
    store::{self, HoldRow, NewEntry},
};

impl HoldRow {
    pub(crate) fn wanting(units: i64) -> Self {
        Self { wanted: units, needed: units, ..Self::default() }
    }

    /// What may still be granted: nothing once the batch is closed, and never more than it can
    /// use, which is known from its totals.
    fn short(&self) -> i64 {
        if self.closed { 0 } else { (self.wanted.min(self.needed) - self.granted).max(0) }
    }
}

impl Billing {
    /// The cumulative grant. Asking again never grants twice.
    pub(crate) async fn hold_units(
        &self,
        organisation: OrganisationId,
        batch: BatchId,
        wanted: i64,
    ) -> Result<i64, DbErr> {
        let tx = self.database.begin().await?;
        store::lock_account(&tx, organisation).await?;
        let known = store::hold(&tx, organisation, batch).await?;
        let mut row = known.unwrap_or_else(|| HoldRow::wanting(wanted));
        if row.wanted == 0 {
            // Its totals came first: a call before this one did not reach us.
            row.wanted = wanted;
        }
        let available = store::account(&tx, organisation).await?.available;
        let raise = row.short().min(available);
        row.granted += raise;
        store::save_hold(&tx, organisation, batch, row).await?;
        if raise > 0 {
            store::move_credits(&tx, organisation, raise, 0).await?;
            let reference = batch.to_string();
            let at_ms = self.clock.now_ms();
            let entry = NewEntry { kind: "hold", amount: raise, reference: &reference, at_ms };
            entry.write(&tx, organisation).await?;
        }
        tx.commit().await?;
        Ok(row.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_batch_is_granted_nothing_more() {
        let row = HoldRow { closed: true, ..HoldRow::wanting(10) };
        assert_eq!(row.short(), 0);
    }

    #[test]
    fn a_batch_whose_needs_fell_is_granted_no_more_than_it_needs() {
        let row = HoldRow { granted: 4, needed: 6, ..HoldRow::wanting(10) };
        assert_eq!(row.short(), 2);
        assert_eq!(HoldRow { granted: 8, ..row }.short(), 0);
    }
}
