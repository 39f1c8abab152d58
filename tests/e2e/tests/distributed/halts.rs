use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Providers, Stack};

use crate::{RECIPIENTS, campaign_to_20000, state, until, until_accepted, until_settled};

/// After the answer nothing is accepted later than this.
const IN_EFFECT: Duration = Duration::from_secs(2);
/// So long it is watched that nothing more comes.
const WATCHED: Duration = Duration::from_secs(6);

#[test]
fn a_pause_holds_a_resume_sends_the_rest_once_and_a_cancel_ends_it() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    let providers = Providers::start(Duration::from_millis(200));
    providers.set_for(&stack, &[]);
    let id = campaign_to_20000(&stack);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    until_accepted(&providers, 2_000);

    let paused_at = halted(&stack, &providers, "pause", &id);
    assert!(paused_at <= 10_000, "{paused_at} were sent before the pause");

    let opted_out = opt_out_of_one_queued(&stack, &id);
    let _ = stack.run(&["campaign", "resume", &id]).ok();
    until_accepted(&providers, paused_at + 2_000);
    let cancelled_at = halted(&stack, &providers, "cancel", &id);
    let report = until_settled(&stack, &id);
    assert_eq!(providers.total(), cancelled_at, "nothing is accepted any more");

    providers.assert_none_twice();
    assert_eq!(state(&report, "sent"), cancelled_at as u64, "{report}");
    let ended = state(&report, "cancelled") + state(&report, "suppressed");
    assert_eq!(state(&report, "sent") + ended, RECIPIENTS, "{report}");
    assert!(state(&report, "cancelled") > 0, "{report}");
    let row = stack
        .detail(&id)
        .into_iter()
        .find(|row| row["external_id"] == opted_out && row["channel"] == "email");
    let row = row.expect("the one who opted out");
    assert!(["suppressed", "cancelled"].contains(&row["state"].as_str()), "{row:?}");
    let balance = stack.run(&["balance", "show", "-o", "json"]).ok().json();
    assert_eq!(balance["held"], 0, "{balance}");
}

#[test]
fn resuming_sends_each_of_the_rest_once_and_who_opted_out_is_suppressed() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    let providers = Providers::start(Duration::from_millis(100));
    providers.set_for(&stack, &[]);
    let id = campaign_to_20000(&stack);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    until_accepted(&providers, 2_000);
    let open = RECIPIENTS - halted(&stack, &providers, "pause", &id) as u64;
    assert!(open >= 10_000, "{open} are still open");
    let opted_out = opt_out_of_one_queued(&stack, &id);
    let _ = stack.run(&["campaign", "resume", &id]).ok();
    let report = until_settled(&stack, &id);
    assert_eq!(state(&report, "sent"), RECIPIENTS - 1, "{report}");
    assert_eq!(state(&report, "suppressed"), 1, "{report}");
    providers.assert_none_twice();
    assert_eq!(providers.accepted().len() as u64, RECIPIENTS - 1);
    let row = stack.detail(&id).into_iter().find(|row| row["state"] == "suppressed");
    assert_eq!(row.expect("one row")["external_id"], opted_out);
}

/// Halts until it is answered "in effect", and watches what is still accepted; answers how many
/// were in all.
fn halted(stack: &Stack, providers: &Providers, verb: &str, id: &str) -> usize {
    halt(stack, verb, id);
    let answered = Instant::now();
    thread::sleep(WATCHED);
    let last = providers.last_accepted().expect("some were accepted before");
    let late = last.saturating_duration_since(answered);
    println!("{verb}: the last was accepted {late:.1?} after the answer");
    assert!(late <= IN_EFFECT, "{verb}: one was accepted {late:?} after the answer");
    providers.total()
}

/// Said again, it changes nothing.
fn halt(stack: &Stack, verb: &str, id: &str) {
    for _ in 0..30 {
        let answer = stack.run(&["campaign", verb, id, "-o", "json"]).ok();
        if answer.json()["in_effect"] == true {
            return;
        }
        println!("{verb}: stored, not yet in effect");
    }
    panic!("{verb}: never in effect");
}

/// Somebody whose e-mail still waits opts out through the link, one click; answers who it was.
fn opt_out_of_one_queued(stack: &Stack, id: &str) -> String {
    let detail = stack.detail(id);
    let reached: BTreeSet<&String> = detail
        .iter()
        .filter(|row| {
            row["channel"] == "email" && row["state"] != "queued" && row["state"] != "planned"
        })
        .map(|row| &row["external_id"])
        .collect();
    let waiting = detail
        .iter()
        .rev()
        .find(|row| row["channel"] == "email" && !reached.contains(&row["external_id"]));
    let who = waiting.expect("somebody who still waits")["external_id"].clone();
    let preview = stack.run(&["campaign", "preview", id, "--customer", &who, "-o", "json"]).ok();
    let preview = preview.json().to_string();
    let at = preview.find("/u/").expect("the link is in the text");
    let path: String = preview[at..]
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "/-_".contains(*c))
        .collect();
    let (status, page) = stack.http("GET", &path, "");
    assert_eq!(status, 200, "{page}");
    let again = until(stack, id, "a look changes nothing", |_| true);
    assert_eq!(state(&again, "suppressed"), 0, "{again}");
    let (status, page) = stack.http("POST", &path, "List-Unsubscribe=One-Click");
    assert_eq!(status, 200, "{page}");
    who
}
