//! Without any one of these mechanisms a promise falls; the trace shows how. `--nocapture` prints it.

use carillon_model::properties::{self, PLANNED, REPORT_SUMS, SETTLES, STAYS_HALTED};
use carillon_model::{Mutation, healed, trial};

fn harms(mutation: Mutation) {
    let trial = trial(mutation).expect("this mechanism has a trial");
    let property = trial.property;
    let verdict = trial.run();
    println!("{verdict}");
    let (broken, trace) = verdict.broken.expect("a promise falls without this mechanism");
    assert_eq!(broken, property);
    assert!(!trace.is_empty());
}

fn harms_also(mutation: Mutation, property: &'static str) {
    let verdict = trial(mutation).expect("this mechanism has a trial").run_for(property);
    assert!(!verdict.holds(), "{verdict}");
}

#[test]
fn without_the_claim_a_message_is_sent_twice() {
    harms(Mutation::Claim);
}

#[test]
fn without_record_before_ack_a_killed_worker_loses_its_delivery() {
    harms(Mutation::RecordBeforeAck);
}

#[test]
fn without_release_again_a_wiped_broker_loses_a_batch() {
    harms(Mutation::ReleaseAgain);
}

#[test]
fn without_the_marks_a_wiped_broker_loses_an_event() {
    harms(Mutation::Marks);
}

#[test]
fn without_the_epoch_check_of_a_claim_a_zombie_leaves_a_row_that_nobody_sweeps() {
    harms(Mutation::EpochFence);
}

#[test]
fn without_the_epoch_check_of_a_record_a_zombie_writes_over_anothers_call() {
    harms(Mutation::EpochRecord);
}

#[test]
fn without_the_claims_number_a_repeated_record_undoes_a_newer_claim() {
    harms(Mutation::ClaimNumber);
}

#[test]
fn without_the_check_of_its_rows_state_a_record_takes_back_a_receipt() {
    harms(Mutation::RecordState);
}

#[test]
fn without_the_wait_for_a_claims_end_read_back_gives_away_rows_that_are_about_to_be_sent() {
    harms(Mutation::ClaimIsOver);
}

#[test]
fn without_the_permits_of_lost_claims_one_kill_leaves_more_unknown_than_its_share() {
    harms(Mutation::PermitsAreKept);
}

#[test]
fn without_the_deadlines_check_somebody_is_called_too_late() {
    harms(Mutation::DeadlineCheck);
}

#[test]
fn without_the_heartbeat_check_a_zombie_calls_after_the_last_word() {
    harms(Mutation::HeartbeatCheck);
}

#[test]
fn without_the_end_of_old_claims_a_worker_calls_for_them_under_its_new_epoch() {
    harms(Mutation::OldClaims);
}

#[test]
fn without_the_monotone_hold_a_redelivery_holds_twice() {
    harms(Mutation::MonotoneHold);
}

#[test]
fn without_the_memory_of_closed_batches_a_late_hold_stays_for_ever() {
    harms(Mutation::ClosedIsRemembered);
}

#[test]
fn without_the_grants_check_a_claim_sends_what_nobody_held() {
    harms(Mutation::GrantCheck);
}

#[test]
fn without_their_count_at_the_commit_totals_are_ahead_of_the_messages_that_they_come_with() {
    harms(Mutation::TotalsAtCommit);
}

#[test]
fn without_the_totals_version_an_old_event_turns_the_books_back() {
    harms(Mutation::TotalsVersion);
    harms_also(Mutation::TotalsVersion, REPORT_SUMS);
}

#[test]
fn without_the_version_of_its_last_change_a_messages_history_turns_back() {
    harms(Mutation::DetailVersion);
    harms_also(Mutation::DetailVersion, REPORT_SUMS);
}

#[test]
fn without_the_changes_of_overtaken_events_a_message_is_never_told_of() {
    harms(Mutation::DetailsOfEveryEvent);
    harms_also(Mutation::DetailsOfEveryEvent, REPORT_SUMS);
}

#[test]
fn without_its_doubt_a_message_that_was_taken_is_called_failed() {
    harms(Mutation::DoubtIsKept);
}

#[test]
fn without_the_check_a_sealed_block_outlives_its_batch() {
    harms(Mutation::BlockCheck);
}

#[test]
fn without_the_block_before_the_ack_a_retry_has_no_address() {
    harms(Mutation::BlockBeforeAck);
}

#[test]
fn without_later_attempts_a_message_waits_for_its_deadline() {
    harms(Mutation::Retry);
}

#[test]
fn without_asking_again_a_batch_waits_beside_money_that_came_back() {
    harms(Mutation::AskAgain);
}

/// So "everything settles" is also asked without the deadline.
#[test]
fn the_deadline_alone_would_hide_that_nothing_is_tried_or_asked_again() {
    for mutation in [Mutation::Retry, Mutation::AskAgain] {
        let verdict = trial(mutation).expect("this mechanism has a trial").run_for(SETTLES);
        assert!(verdict.holds(), "{verdict}");
    }
}

#[test]
fn without_the_halts_check_a_claim_takes_what_was_cancelled() {
    harms(Mutation::HaltAtClaim);
    harms_also(Mutation::HaltAtClaim, STAYS_HALTED);
}

#[test]
fn without_the_clearances_check_a_call_follows_a_cancel_in_effect() {
    harms(Mutation::Clearance);
}

#[test]
fn without_the_wait_for_the_mark_an_opt_out_is_said_to_be_in_effect_too_early() {
    harms(Mutation::AnswerAtMark);
}

#[test]
fn without_its_version_a_pause_that_was_late_halts_a_resumed_campaign() {
    harms(Mutation::HaltVersion);
}

#[test]
fn without_their_settling_rows_that_were_paused_outlive_a_cancel() {
    harms(Mutation::HaltSettles);
}

#[test]
fn without_its_precedence_a_cancel_in_effect_ends_as_the_deadline() {
    harms(Mutation::CancelFirst);
}

/// So without these promises nobody would notice.
#[test]
fn what_is_settled_halted_or_read_in_a_report_is_watched_by_one_promise_alone() {
    for mutation in [Mutation::RecordState, Mutation::CancelFirst, Mutation::TotalsAtCommit] {
        for promise in properties::all() {
            let trial = trial(mutation).expect("this mechanism has a trial");
            let (watches, verdict) = (trial.property == promise.name, trial.run_for(promise.name));
            assert_eq!(verdict.holds(), !watches, "{verdict}");
        }
    }
}

#[test]
fn without_the_second_reading_of_the_cursor_a_late_planner_turns_the_plan_back_for_ever() {
    harms(Mutation::CursorAgain);
    harms_also(Mutation::CursorAgain, PLANNED);
}

#[test]
fn an_ack_that_is_only_too_early_is_healed_by_releasing_again() {
    let verdict = healed();
    println!("{verdict}");
    assert!(verdict.holds(), "{verdict}");
}
