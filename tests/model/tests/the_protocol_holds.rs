//! Every state within the bounds keeps the promises. `--nocapture` shows how many there are.

use carillon_model::{
    Bounds, all, cancelled_keys, cancels, check, crashes, events, keys, late_crashes, misfortunes,
    money, opt_outs, pauses, planners, purse, receipts, trials, zombies,
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

#[test]
fn a_killed_worker_and_late_events_do_not_spend_a_credit_twice() {
    holds(late_crashes());
}

#[test]
fn a_pause_in_effect_is_obeyed_and_a_resumed_campaign_goes_on() {
    holds(pauses());
}

#[test]
fn what_a_cancelled_campaign_left_unsent_ends_as_cancelled() {
    holds(cancels());
}

#[test]
fn a_cancelled_message_that_may_have_been_taken_is_not_called_cancelled() {
    holds(cancelled_keys());
}

#[test]
fn an_opt_out_in_effect_is_obeyed_and_stops_nobody_else() {
    holds(opt_outs());
}

#[test]
fn two_planners_plan_everybody_once() {
    holds(planners());
}

/// Or a promise that falls without a mechanism would prove nothing about the mechanism. The larger worlds have tests
/// of their own, above.
#[test]
fn every_world_in_which_a_mechanism_is_taken_out_holds_with_it() {
    let mut checked = all();
    for trial in trials() {
        if !checked.contains(&trial.bounds) {
            checked.push(trial.bounds.clone());
            let verdict = trial.unharmed();
            println!("{verdict}");
            assert!(verdict.holds(), "{verdict}");
        }
    }
}
