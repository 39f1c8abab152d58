//! Every state within the bounds keeps the promises. `--nocapture` shows how many there are.

use carillon_model::{
    Bounds, check, crashes, events, keys, misfortunes, money, purse, receipts, zombies,
};

fn holds(bounds: Bounds) {
    let verdict = check(bounds);
    println!("{verdict}");
    assert!(verdict.holds(), "{verdict}");
}

#[test]
fn two_kills_and_a_broker_that_loses_repeats_and_reorders_break_nothing() {
    holds(crashes());
}

#[test]
fn a_zombie_that_acts_late_breaks_nothing() {
    holds(zombies());
}

#[test]
fn one_message_survives_every_misfortune() {
    holds(misfortunes());
}

#[test]
fn a_gateway_with_idempotency_keys_takes_a_message_once() {
    holds(keys());
}

#[test]
fn no_credit_is_lost_or_spent_twice() {
    holds(money());
}

#[test]
fn what_is_learnt_late_leaves_the_money_right() {
    holds(receipts());
}

#[test]
fn late_lost_and_repeated_events_end_in_a_true_report() {
    holds(events());
}

#[test]
fn two_batches_share_a_purse_that_is_too_small() {
    holds(purse());
}
