//! A model in which nothing happens would hold too. These must happen.

use carillon_model::properties::{
    NEVER_DELIVERED, NEVER_DOUBTFUL, NEVER_EXPIRED, NEVER_FAILED, NEVER_LATE, NEVER_SENT,
    NEVER_SHORT, NEVER_UNKNOWN,
};
use carillon_model::{Bounds, events, find, keys, misfortunes, money, zombies};

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
