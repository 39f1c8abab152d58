//! What a batch was granted, and how that is split between what it needs, what it spent, and what
//! goes back.

use carillon_contracts::events::v1::Totals;

use super::ledger::{Kind, Ledger};

/// What billing keeps of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldRow {
    /// Of the first call; later ones do not change it.
    pub wanted: i64,
    /// Cumulative: never lowered.
    pub granted: i64,
    /// Of the newest totals heard; 0 before any.
    pub version: i64,
    pub needed: i64,
    pub posted: i64,
    pub closed: bool,
}

/// How a batch's grant is split: what stays held, what is spent; the rest went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub held: i64,
    pub spent: i64,
}

impl HoldRow {
    pub(crate) fn wanting(units: i64) -> Self {
        Self { wanted: units, needed: units, ..Self::default() }
    }

    /// What may still be granted: nothing once the batch is closed, and never more than it can
    /// use, which is known from its totals.
    pub(crate) fn short(&self) -> i64 {
        if self.closed { 0 } else { (self.wanted.min(self.needed) - self.granted).max(0) }
    }

    pub(crate) fn split(&self) -> Split {
        if self.version == 0 {
            return Split { held: self.granted, spent: 0 };
        }
        let covered = self.granted.min(self.needed.max(self.posted));
        Split { held: covered - self.posted, spent: self.posted }
    }

    /// The row after newer totals. What was closed stays closed.
    pub(crate) fn after(self, totals: &Totals) -> Self {
        Self {
            version: totals.version.cast_signed(),
            needed: totals.needed_units.cast_signed(),
            posted: totals.posted_units.cast_signed(),
            closed: self.closed || totals.closed,
            ..self
        }
    }

    /// Posts what leads from the one split to the other.
    pub(crate) fn settle(before: Split, after: Split, ledger: &mut Ledger) {
        let spent = after.spent - before.spent;
        ledger.post(Kind::Settle, spent.max(0));
        ledger.post(Kind::Refund, (-spent).max(0));
        let held = after.held - before.held + spent.max(0);
        ledger.post(Kind::Return, (-held).max(0));
        ledger.post(Kind::Hold, held.max(0));
    }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::billing::v1::Account;

    use super::*;

    fn totals(version: u64, needed: u64, posted: u64) -> Totals {
        Totals { version, needed_units: needed, posted_units: posted, ..Totals::default() }
    }

    fn posted(before: HoldRow, after: HoldRow) -> Vec<(Kind, i64)> {
        let mut ledger = Ledger::of(Account::default());
        HoldRow::settle(before.split(), after.split(), &mut ledger);
        ledger.lines.iter().map(|line| (line.kind, line.amount)).collect()
    }

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

    #[test]
    fn what_is_needed_stays_covered_and_the_rest_goes_back() {
        let held = HoldRow { granted: 10, ..HoldRow::wanting(10) };
        assert_eq!(held.split(), Split { held: 10, spent: 0 });
        let sending = held.after(&totals(1, 10, 4));
        assert_eq!(sending.split(), Split { held: 6, spent: 4 });
        assert_eq!(posted(held, sending), [(Kind::Settle, 4)]);
        let two_failed = sending.after(&totals(2, 8, 8));
        assert_eq!(two_failed.split(), Split { held: 0, spent: 8 });
        assert_eq!(posted(sending, two_failed), [(Kind::Settle, 4), (Kind::Return, 2)]);
    }

    #[test]
    fn a_batch_that_was_granted_too_little_holds_only_what_it_got() {
        let short = HoldRow { granted: 3, ..HoldRow::wanting(10) };
        assert_eq!(short.after(&totals(1, 10, 3)).split(), Split { held: 0, spent: 3 });
    }

    #[test]
    fn late_proof_of_non_acceptance_gives_credits_back() {
        let closed =
            HoldRow { granted: 5, version: 1, posted: 5, closed: true, ..HoldRow::wanting(5) };
        let proven = closed.after(&totals(7, 4, 4));
        assert_eq!(proven.split(), Split { held: 0, spent: 4 });
        assert!(proven.closed);
        assert_eq!(posted(closed, proven), [(Kind::Refund, 1)]);
    }
}
