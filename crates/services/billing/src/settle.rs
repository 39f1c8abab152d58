//! Settle: a batch's totals move what was held to spent, and give the rest back. Of totals the
//! newest version wins, so they may come late, twice, and in any order.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{BalanceRaised, Event, Totals, event::Body},
    ids::{BatchId, OrganisationId},
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Billing,
    store::{self, HoldRow, NewEntry},
};

pub(crate) struct Settle(pub Billing);

#[async_trait]
impl Handler for Settle {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let wrong = |what: &str| HandlerError::Event(format!("delivery.changed: {what}"));
        let Some(Body::DeliveryChanged(changed)) = &event.body else {
            return Err(wrong("no body"));
        };
        let totals = changed.totals.as_ref().ok_or_else(|| wrong("no totals"))?;
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let batch =
            BatchId::from_wire(&changed.batch_id).map_err(|error| wrong(&error.to_string()))?;
        Ok(self.0.settle(tx, organisation, batch, totals).await?)
    }

    fn committed(&self) {
        self.0.outbox.wake();
    }
}

/// How a batch's grant is split: what stays held, what is spent; the rest went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    held: i64,
    spent: i64,
}

impl HoldRow {
    fn split(&self) -> Split {
        if self.version == 0 {
            return Split { held: self.granted, spent: 0 };
        }
        let covered = self.granted.min(self.needed.max(self.posted));
        Split { held: covered - self.posted, spent: self.posted }
    }

    /// The row after newer totals. What was closed stays closed.
    fn after(self, totals: &Totals) -> Self {
        Self {
            version: totals.version.cast_signed(),
            needed: totals.needed_units.cast_signed(),
            posted: totals.posted_units.cast_signed(),
            closed: self.closed || totals.closed,
            ..self
        }
    }
}

impl Billing {
    async fn settle(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        batch: BatchId,
        totals: &Totals,
    ) -> Result<(), DbErr> {
        store::lock_account(tx, organisation).await?;
        let known = store::hold(tx, organisation, batch).await?.unwrap_or_default();
        if totals.version.cast_signed() <= known.version {
            return Ok(());
        }
        let row = known.after(totals);
        store::save_hold(tx, organisation, batch, row).await?;
        let (before, after) = (known.split(), row.split());
        let (held, spent) = (after.held - before.held, after.spent - before.spent);
        if held == 0 && spent == 0 {
            return Ok(());
        }
        store::move_credits(tx, organisation, held, spent).await?;
        let returned = -(held + spent);
        let reference = batch.to_string();
        for (kind, amount) in [("settle", spent), ("return", returned)] {
            if amount != 0 {
                let at_ms = self.clock.now_ms();
                let entry = NewEntry { kind, amount, reference: &reference, at_ms };
                entry.write(tx, organisation).await?;
            }
        }
        if returned > 0 {
            self.tell_raised(tx, organisation).await?;
        }
        Ok(())
    }

    /// Tells dispatchers to ask again, if any batch waits for credits.
    pub(crate) async fn tell_raised(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<(), DbErr> {
        if store::any_short(tx, organisation).await? {
            let available = store::account(tx, organisation).await?.available.cast_unsigned();
            let raised = Body::BalanceRaised(BalanceRaised { available });
            self.outbox.append(tx, organisation, raised).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(version: u64, needed: u64, posted: u64) -> Totals {
        Totals { version, needed_units: needed, posted_units: posted, ..Totals::default() }
    }

    #[test]
    fn what_is_needed_stays_covered_and_the_rest_goes_back() {
        let held = HoldRow { granted: 10, ..HoldRow::wanting(10) };
        assert_eq!(held.split(), Split { held: 10, spent: 0 });
        let sending = held.after(&totals(1, 10, 4));
        assert_eq!(sending.split(), Split { held: 6, spent: 4 });
        let two_failed = sending.after(&totals(2, 8, 8));
        assert_eq!(two_failed.split(), Split { held: 0, spent: 8 });
    }

    #[test]
    fn a_batch_that_was_granted_too_little_holds_only_what_it_got() {
        let short = HoldRow { granted: 3, ..HoldRow::wanting(10) };
        assert_eq!(short.after(&totals(1, 10, 3)).split(), Split { held: 0, spent: 3 });
    }

    #[test]
    fn late_proof_of_non_acceptance_gives_credits_back() {
        let closed = HoldRow { granted: 5, closed: true, ..HoldRow::wanting(5) };
        let proven = closed.after(&totals(7, 4, 4));
        assert_eq!(proven.split(), Split { held: 0, spent: 4 });
        assert!(proven.closed);
    }
}
