//! What a batch has still to pay for, by what its rows say.

use std::collections::BTreeMap;

use carillon_contracts::vocabulary::MessageState;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unpaid {
    /// Units that the grant is spent on: of rows sending, posted, or queued after an attempt.
    pub used: i64,
    /// Units of the others that are open, by position.
    units: BTreeMap<u32, u32>,
}

impl Unpaid {
    /// Nobody has a row yet.
    pub(crate) fn whole(units: &[u32]) -> Self {
        Self { used: 0, units: (0..).zip(units.iter().copied()).collect() }
    }

    /// Heeds a row that is there.
    pub(crate) fn see(&mut self, position: u32, state: MessageState, attempt: u32, units: u32) {
        self.units.remove(&position);
        if state == MessageState::Queued && attempt == 0 {
            self.units.insert(position, units);
        } else if !state.is_settled() || state.is_posted() {
            self.used += i64::from(units);
        }
    }

    /// Also where all that is left costs nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        self.units.values().all(|units| *units == 0)
    }

    /// In payload order.
    pub(crate) fn into_units(self) -> Vec<u32> {
        self.units.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_attempted_is_paid_for_and_what_ended_unposted_is_not() {
        let mut unpaid = Unpaid::whole(&[1, 2, 3, 4, 5, 6]);
        unpaid.see(0, MessageState::Sent, 1, 1);
        unpaid.see(1, MessageState::Failed, 1, 2);
        unpaid.see(2, MessageState::Queued, 1, 3);
        unpaid.see(3, MessageState::Sending, 1, 4);
        unpaid.see(5, MessageState::Queued, 0, 7);
        assert_eq!(unpaid.used, 8);
        assert_eq!(unpaid.into_units(), [5, 7], "a row's units are what it was claimed for");
        let mut done = Unpaid::whole(&[1]);
        done.see(0, MessageState::Suppressed, 0, 1);
        assert!(done.is_nothing() && done.used == 0);
        assert!(Unpaid::whole(&[0, 0]).is_nothing());
    }
}
