//! A model in which nothing happens would hold too. These must happen.

use carillon_model::properties::{
    NEVER_CANCELLED, NEVER_CLEARED, NEVER_DELIVERED, NEVER_DOUBTFUL, NEVER_EXPIRED, NEVER_FAILED,
    NEVER_LATE, NEVER_OUT_OF_MONEY, NEVER_OVERTAKEN, NEVER_SENT, NEVER_SHORT, NEVER_STALE,
    NEVER_SUPPRESSED, NEVER_UNKNOWN,
};
use carillon_model::{
    Bounds, cancels, events, find, keys, misfortunes, money, opt_outs, pauses, planners, purse,
    zombies,
};

fn happens(bounds: Bounds, never: &'static str) {
    let verdict = find(bounds, never);
    assert!(!verdict.holds(), "it must not be so that {never}");
}

#[test]
fn messages_are_sent_delivered_failed_expired_and_unknown() {
    happens(misfortunes(), NEVER_SENT);
    happens(misfortunes(), NEVER_DELIVERED);
    happens(keys(), NEVER_FAILED);
    happens(zombies(), NEVER_EXPIRED);
    happens(zombies(), NEVER_UNKNOWN);
}

#[test]
fn a_gateway_with_keys_leaves_messages_doubtful() {
    happens(keys(), NEVER_DOUBTFUL);
}

#[test]
fn messages_wait_for_money() {
    happens(money(), NEVER_SHORT);
}

#[test]
fn totals_arrive_out_of_order() {
    happens(events(), NEVER_LATE);
}

#[test]
fn only_want_of_money_stops_a_batch_without_a_deadline() {
    happens(purse(), NEVER_OUT_OF_MONEY);
}

#[test]
fn messages_are_cancelled_and_suppressed() {
    happens(cancels(), NEVER_CANCELLED);
    happens(opt_outs(), NEVER_SUPPRESSED);
}

#[test]
fn halts_overtake_each_other_and_meet_messages_in_hand() {
    happens(pauses(), NEVER_OVERTAKEN);
    happens(pauses(), NEVER_CLEARED);
}

#[test]
fn a_planner_comes_too_late() {
    happens(planners(), NEVER_STALE);
}
