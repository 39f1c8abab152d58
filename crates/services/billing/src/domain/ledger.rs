//! The ledger, by double entry: each line takes credits from one place and puts them in another, so
//! that what stands in the places together is always what was credited.

use carillon_contracts::billing::v1::Account;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Credit,
    Hold,
    Settle,
    Return,
    Refund,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Credit, Self::Hold, Self::Settle, Self::Return, Self::Refund];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Hold => "hold",
            Self::Settle => "settle",
            Self::Return => "return",
            Self::Refund => "refund",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Where the credits come from, and where they go.
    pub(crate) const fn places(self) -> (&'static str, &'static str) {
        match self {
            Self::Credit => ("purchased", "available"),
            Self::Hold => ("available", "held"),
            Self::Settle => ("held", "spent"),
            Self::Return => ("held", "available"),
            Self::Refund => ("spent", "available"),
        }
    }
}

/// A line, and the account after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub kind: Kind,
    pub amount: i64,
    pub after: Account,
}

/// An account under its lock, and the lines posted since.
pub(crate) struct Ledger {
    pub account: Account,
    pub lines: Vec<Line>,
}

impl Ledger {
    pub(crate) fn of(account: Account) -> Self {
        Self { account, lines: Vec::new() }
    }

    /// Whether the account has just become low: it has fewer credits than the organisation asked
    /// to be told of. One that was never credited did not fall.
    pub(crate) fn falls_low(&mut self, low_balance: i64) -> bool {
        let Account { available, credited, low, .. } = &mut self.account;
        let falls = !*low && *credited > 0 && *available < low_balance;
        *low |= falls;
        falls
    }

    /// Makes room for the next alert, if the account has enough credits again. Only a credit or
    /// another setting does so: what batches return goes up and down with each of them.
    pub(crate) fn lift(&mut self, low_balance: i64) {
        self.account.low &= self.account.available < low_balance;
    }

    /// Moves `amount` credits; nothing is written of none.
    pub(crate) fn post(&mut self, kind: Kind, amount: i64) {
        debug_assert!(amount >= 0, "{kind:?} of {amount}");
        if amount <= 0 {
            return;
        }
        let Account { available, held, spent, credited, .. } = &mut self.account;
        let (source, target) = match kind {
            Kind::Credit => (None, available),
            Kind::Hold => (Some(available), held),
            Kind::Settle => (Some(held), spent),
            Kind::Return => (Some(held), available),
            Kind::Refund => (Some(spent), available),
        };
        *target += amount;
        match source {
            Some(source) => *source -= amount,
            None => *credited += amount,
        }
        self.lines.push(Line { kind, amount, after: self.account });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_line_shows_the_account_after_it() {
        let mut ledger = Ledger::of(Account::default());
        ledger.post(Kind::Credit, 100);
        ledger.post(Kind::Hold, 60);
        ledger.post(Kind::Settle, 40);
        ledger.post(Kind::Return, 20);
        ledger.post(Kind::Refund, 1);
        ledger.post(Kind::Return, 0);
        let shown: Vec<_> = ledger
            .lines
            .iter()
            .map(|line| (line.after.available, line.after.held, line.after.spent))
            .collect();
        assert_eq!(shown, [(100, 0, 0), (40, 60, 0), (40, 20, 40), (60, 0, 40), (61, 0, 39)]);
    }

    #[test]
    fn an_account_falls_low_once_until_it_is_lifted() {
        let mut ledger = Ledger::of(Account::default());
        assert!(!ledger.falls_low(50), "it was never credited");
        ledger.post(Kind::Credit, 49);
        assert!(ledger.falls_low(50));
        assert!(!ledger.falls_low(50) && !ledger.falls_low(60));
        ledger.lift(50);
        assert!(ledger.account.low, "49 are still fewer than 50");
        ledger.lift(0);
        assert!(!ledger.account.low);
        assert!(ledger.falls_low(50));
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(Kind::of_word("gift"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_posted_the_sum_stays(acts in prop::collection::vec((0_usize..5, 0_i64..100), 0..50)) {
            let mut ledger = Ledger::of(Account::default());
            for (kind, amount) in acts {
                ledger.post(Kind::ALL[kind], amount);
                let Account { available, held, spent, credited, .. } = ledger.account;
                prop_assert_eq!(available + held + spent, credited);
            }
        }
    }
}
