//! What SMS providers answer, and what they do not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_e2e::customers;
use carillon_sinks::sms::Behaviour;

use super::dispatchers::each_call_has_its_messages_key;
use crate::{
    Outcome, Size,
    drill::{BOTH, Drill, SMS, until},
};

const TIMEOUT: [(&str, &str); 1] = [("CARILLON__SMS_DISPATCHER__HTTP__TIMEOUT_MS", "2000")];
/// Longer than the first wait of our own.
const RETRY_AFTER: Duration = Duration::from_secs(3);
const SENT: (&str, &str, &str, usize) = ("sent", "", "", 1);

fn refuses(status: u16, body: &str) -> Behaviour {
    Behaviour::Answer { status, retry_after: None, body: body.into() }
}

fn asks_to_come_again(status: u16) -> Behaviour {
    let retry_after = Some(RETRY_AFTER.as_secs());
    Behaviour::Answer { status, retry_after, body: String::new() }
}

/// What the provider does to a customer's message, and what comes of it: state, reason, the
/// provider's code, attempts.
fn case(customer: usize) -> (Vec<Behaviour>, (&'static str, &'static str, &'static str, usize)) {
    let in_doubt = |code| ("unknown", "in_doubt", code, 1);
    match customer % 500 {
        // Few, for they take as long as is waited for them.
        7 => (vec![Behaviour::AcceptAndHang], in_doubt("answer_timeout")),
        17 => (vec![Behaviour::AcceptSlowly(Duration::from_secs(1))], in_doubt("answer_timeout")),
        27 => (vec![Behaviour::AcceptSlowly(Duration::from_millis(1))], SENT),
        other => match other % 10 {
            0 => (vec![asks_to_come_again(429)], ("sent", "", "", 2)),
            1 => (vec![asks_to_come_again(503)], ("sent", "", "", 2)),
            2 => (vec![refuses(500, "")], in_doubt("http_500")),
            3 => (vec![Behaviour::AcceptAndClose], in_doubt("closed_without_answer")),
            4 => (vec![Behaviour::AcceptSaying("{\"sid\":".into())], in_doubt("answer_unreadable")),
            5 => {
                (vec![Behaviour::AcceptSaying("{\"sid\":7}".into())], in_doubt("answer_unreadable"))
            }
            6 => {
                let nobody = refuses(400, "{\"code\":21211,\"status\":400}");
                (vec![nobody], ("failed", "number_invalid", "21211", 1))
            }
            _ => (Vec::new(), SENT),
        },
    }
}

pub(super) fn customers_by_phone(customers: usize) -> HashMap<String, usize> {
    (0..customers).map(|customer| (customers::phone(customer), customer)).collect()
}

/// Each message meets its case's behaviours, one a call, and is taken after them.
fn set_cases(drill: &Drill, customers: usize) {
    let numbers = customers_by_phone(customers);
    drill.providers.sms.by_rule(move |to, time| {
        let (mut behaviours, _) = case(numbers[to]);
        if time > behaviours.len() { Behaviour::Accept } else { behaviours.swap_remove(time - 1) }
    });
}

pub(crate) fn answered_in_every_way(size: &Size) -> Outcome {
    let customers = size.recipients / 2;
    let mut drill = Drill::of(customers, &[], &TIMEOUT);
    drill.may_end_as(&["failed"]);
    set_cases(&drill, customers);
    let campaign = drill.send(SMS);
    drill.until_settled(&campaign);
    let asked = drill.providers.sms.asked();
    let mut unknown = 0;
    let details = drill.details(&campaign);
    assert_eq!(details.len(), customers);
    for (address, detail) in details {
        let (_, comes_to) = case(detail.number);
        assert_eq!(detail.is(), comes_to, "{address}");
        let calls = &asked[&detail.message];
        assert_eq!(calls.len(), detail.attempt, "calls for {address}");
        if let [first, second] = calls[..] {
            let waited = second - first;
            assert!(waited >= RETRY_AFTER, "{address} was tried again after {waited:?}");
        }
        unknown += usize::from(detail.state == "unknown");
    }
    no_connection_outlives_its_error(&drill, customers);
    drill.end(unknown) + asked_again_under_its_id(customers / 2)
}

/// An error is an answer that does not come: after one that came whole, of whatever status, the
/// connection is as good as before.
fn no_connection_outlives_its_error(drill: &Drill, customers: usize) {
    let sms = &drill.providers.sms;
    let timeouts =
        (0..customers).filter(|customer| comes_to_code(*customer) == "answer_timeout").count();
    let ended = || sms.given_up() + sms.reused();
    until("connections without an answer are ended", || ended() == timeouts as u64);
    assert_eq!(sms.reused(), 0, "connections with an error that were used again");
}

fn comes_to_code(customer: usize) -> &'static str {
    let (_, (_, _, code, _)) = case(customer);
    code
}

/// A gateway that takes each id once only is asked again whatever is in doubt.
fn asked_again_under_its_id(customers: usize) -> Outcome {
    let mut drill = Drill::of(customers, &[], &TIMEOUT);
    drill.may_end_as(&["failed"]);
    drill.providers.set_idempotent_sms_for(&drill.stack);
    set_cases(&drill, customers);
    let campaign = drill.send(SMS);
    drill.until_settled(&campaign);
    let keys = drill.providers.sms.keys();
    for (address, detail) in drill.details(&campaign) {
        let comes_to = match case(detail.number).1 {
            ("unknown", _, "answer_unreadable", _) => SENT,
            ("unknown", ..) => ("sent", "", "", 2),
            ("failed", ..) => ("failed", "refused", "http_400", 1),
            others => others,
        };
        assert_eq!(detail.is(), comes_to, "{address}");
        assert_eq!(keys[&detail.message].len(), detail.attempt, "calls for {address}");
    }
    each_call_has_its_messages_key(&drill);
    let lost = ["answer_timeout", "closed_without_answer"];
    let lost = (0..customers).filter(|customer| lost.contains(&comes_to_code(*customer))).count();
    let again = drill.providers.sms.taken_before();
    assert_eq!(again, lost, "calls under a key that was taken, and answers that were lost");
    drill.end(0)
}

pub(crate) fn down_past_the_deadline(size: &Size) -> Outcome {
    let patience = [
        ("CARILLON__SMS_DISPATCHER__HTTP__CONNECT_TIMEOUT_MS", "2000"),
        ("CARILLON__EMAIL_DISPATCHER__SMTP__CONNECT_TIMEOUT_MS", "2000"),
    ];
    let mut drill = Drill::of(size.recipients / 2, &[], &patience);
    drill.may_end_as(&["expired"]);
    drill.providers.set_reachable(false);
    let campaign = drill.send_for(BOTH, size.minute / 2);
    let deadline = drill.deadline(&campaign);
    let (mut tried, mut open) = (false, 0);
    until("the deadline is over", || {
        let report = drill.stack.report(&campaign);
        let is_over = Instant::now() > deadline;
        if !is_over {
            tried |= report["waiting"]["retrying"].as_u64() > Some(0);
            open = report["in_flight"].as_u64().expect("a count");
        }
        is_over
    });
    assert!(tried && open > 0, "tried: {tried}; open when the deadline came: {open}");
    // Now that they can be reached, whoever still comes is heard.
    drill.providers.set_reachable(true);
    drill.until_settled(&campaign);
    for (address, detail) in drill.details(&campaign) {
        assert_eq!(detail.state, "expired", "{address}");
        let known = ["deadline_before_retry", "deadline_passed"];
        assert!(known.contains(&detail.reason.as_str()), "{address}: {}", detail.reason);
    }
    let calls = (drill.providers.sms.requests(), drill.providers.smtp.begun().len());
    assert_eq!(calls, (0, 0), "SMS and mails begun after the deadline");
    drill.end(0)
}
