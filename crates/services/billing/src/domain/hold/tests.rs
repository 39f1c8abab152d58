use carillon_contracts::billing::v1::Account;
use proptest::prelude::*;

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
    let closed = HoldRow { granted: 5, version: 1, posted: 5, closed: true, ..HoldRow::wanting(5) };
    let proven = closed.after(&totals(7, 4, 4));
    assert_eq!(proven.split(), Split { held: 0, spent: 4 });
    assert!(proven.closed);
    assert_eq!(posted(closed, proven), [(Kind::Refund, 1)]);
}

#[test]
fn nothing_is_granted_that_no_message_fits_in() {
    let threes = Need { used: 0, units: vec![3; 500] };
    let row = HoldRow::wanting(1_500);
    assert_eq!(row.raise(&threes, 100), 99);
    assert_eq!(row.raise(&threes, 2), 0);
    let row = HoldRow { granted: 99, ..row };
    let rest = Need { used: 99, units: vec![3; 467] };
    assert_eq!(row.raise(&rest, 2), 0);
    assert_eq!(row.raise(&rest, 3), 3);
    let mixed = Need { used: 99, units: vec![5, 2, 2] };
    assert_eq!(row.raise(&mixed, 4), 4, "one that fits is not held up by one that does not");
}

#[test]
fn a_need_told_twice_or_late_grants_nothing_more() {
    let threes = Need { used: 0, units: vec![3, 3] };
    let row = HoldRow { granted: 6, ..HoldRow::wanting(6) };
    assert_eq!(row.raise(&threes, 100), 0);
    let ones = Need::default();
    assert_eq!(HoldRow { granted: 4, ..row }.raise(&ones, 100), 2);
    let spent = Need { used: 9, units: vec![3] };
    assert_eq!(HoldRow { granted: 3, ..row }.raise(&spent, 2), 2, "no more than is available");
}

#[test]
fn what_a_batch_gives_back_is_available_again_once() {
    let held = HoldRow { granted: 5, version: 1, needed: 12, posted: 3, ..HoldRow::wanting(12) };
    let given_back = Totals { returned_units: 2, ..totals(2, 12, 3) };
    let after = held.after(&given_back);
    assert_eq!(after.split(), Split { held: 0, spent: 3 });
    assert_eq!(posted(held, after), [(Kind::Return, 2)]);
    assert_eq!((after.granted, after.ever_granted()), (3, 5));
    let again = after.after(&Totals { version: 3, ..given_back });
    assert_eq!((again.granted, again.returned), (3, 2));
    let older_word = again.after(&totals(4, 12, 3));
    assert_eq!((older_word.granted, older_word.returned), (3, 2));
}

prop_compose! {
    fn asked()(
        units in prop::collection::vec(1_u32..6, 1..40),
        paid in 0_usize..40,
        idle in 0_i64..8,
        available in 0_i64..120,
    ) -> (HoldRow, Need, i64) {
        let wanted: i64 = units.iter().map(|units| i64::from(*units)).sum();
        let (paid, rest) = units.split_at(paid.min(units.len()));
        let used: i64 = paid.iter().map(|units| i64::from(*units)).sum();
        let granted = (used + idle).min(wanted);
        let row = HoldRow { granted, ..HoldRow::wanting(wanted) };
        (row, Need { used, units: rest.to_vec() }, available)
    }
}

proptest! {
    #[test]
    fn a_raise_is_used_to_the_last_unit_and_leaves_nothing_that_a_message_fits_in(
        (row, need, available) in asked(),
    ) {
        let raise = row.raise(&need, available);
        prop_assert!((0..=available.min(row.short())).contains(&raise));
        let after = HoldRow { granted: row.granted + raise, ..row };
        if !need.units.is_empty() {
            let filled = need.fill(after.granted);
            prop_assert!(raise == 0 || filled == after.granted, "{raise} of no use");
            let all: i64 = need.units.iter().map(|units| i64::from(*units)).sum();
            if filled < need.used + all {
                let (left, rest) = (available - raise, after.granted - filled);
                let mut more = after;
                more.granted += left.min(after.short());
                prop_assert_eq!(need.fill(more.granted), filled, "{} and {} stranded", left, rest);
            }
        }
        prop_assert_eq!(after.raise(&need, available - raise), 0, "asked again, it grants nothing");
    }

    #[test]
    fn whatever_the_need_says_a_raise_is_within_what_is_short_and_available(
        granted in 0_i64..50, wanted in 0_i64..60, needed in 0_i64..60, closed in any::<bool>(),
        used in 0_i64..100, units in prop::collection::vec(0_u32..9, 0..20), available in 0_i64..60,
    ) {
        let row = HoldRow { granted, needed, closed, ..HoldRow::wanting(wanted) };
        let raise = row.raise(&Need { used, units }, available);
        prop_assert!((0..=available.min(row.short())).contains(&raise));
    }
}
