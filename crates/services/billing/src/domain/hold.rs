//! What a batch was granted, and how that is split between what it needs, what it spent, and what
//! goes back.

use carillon_contracts::{
    events::v1::Totals,
    ids::{BatchId, CampaignId, OrganisationId, RunId},
};

use super::ledger::{Kind, Ledger};

/// Whose hold it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    pub organisation: OrganisationId,
    pub batch: BatchId,
    /// `None` where the request did not say; the batch's totals do.
    pub campaign: Option<CampaignId>,
    pub run: Option<RunId>,
}

/// What a batch has still to pay for, as its dispatcher saw it when it asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Need {
    /// Units that its grant is spent on already.
    pub used: i64,
    /// Units of each unpaid message, in payload order; empty where each is of one.
    pub units: Vec<u32>,
}

impl Need {
    /// How much of a grant of `limit` is of use. The dispatcher goes through the batch in the same
    /// way: in payload order, and one that fits is not held up by one that does not.
    fn fill(&self, limit: i64) -> i64 {
        self.units.iter().fold(self.used, |filled, units| {
            let next = filled.saturating_add(i64::from(*units));
            if next <= limit { next } else { filled }
        })
    }
}

/// What billing keeps of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldRow {
    /// Of the first call; later ones do not change it.
    pub wanted: i64,
    /// What stands granted: all that ever was, without what was given back.
    pub granted: i64,
    /// Cumulative: what the batch gave back because each message that waited cost more.
    pub returned: i64,
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

    /// What is granted now of what is available. Nothing that no message fits in: it would be kept
    /// from another batch, which it might complete a message of. A need that is out of date, or
    /// told twice, grants no more than the batch is short of; what turns out to be of no use, the
    /// batch gives back with its next totals.
    pub(crate) fn raise(&self, need: &Need, available: i64) -> i64 {
        let most = self.short().min(available);
        if need.units.is_empty() {
            return most;
        }
        (need.fill(self.granted + most) - self.granted).clamp(0, most)
    }

    /// All that was ever granted. A dispatcher takes off what it gave back by itself, so that an
    /// answer that comes late gives it nothing twice.
    pub(crate) fn ever_granted(&self) -> i64 {
        self.granted + self.returned
    }

    pub(crate) fn split(&self) -> Split {
        if self.version == 0 {
            return Split { held: self.granted, spent: 0 };
        }
        let covered = self.granted.min(self.needed.max(self.posted));
        Split { held: covered - self.posted, spent: self.posted }
    }

    /// The row after newer totals. What was closed stays closed, and what was given back stays so.
    pub(crate) fn after(self, totals: &Totals) -> Self {
        let back = totals.returned_units.cast_signed() - self.returned;
        let back = back.clamp(0, self.granted);
        Self {
            granted: self.granted - back,
            returned: self.returned + back,
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
mod tests;
