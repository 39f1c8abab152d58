use carillon_contracts::{
    campaign::v1::{Schedule, Validity, schedule::When},
    jobs::v1::{Content, EmailContent, SmsContent},
};

use super::*;

fn campaign() -> Campaign {
    Campaign {
        name: "Members' Monday".into(),
        active: true,
        audience: Some(Audience { selection: Some(Selection::Everyone(true)) }),
        schedule: Some(Schedule { when: Some(When::Now(true)) }),
        content: Some(Content {
            sms: Some(SmsContent { text: "Hi".into(), downgrade: false }),
            email: None,
        }),
        ..Campaign::default()
    }
}

fn errors(campaign: &Campaign) -> Vec<String> {
    check(campaign).iter().map(ToString::to_string).collect()
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[test]
fn a_right_one_has_no_error() {
    assert_eq!(errors(&campaign()), [""; 0]);
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let wrong = Campaign {
        valid: Some(Validity { from: "2026-12-01".into(), until: "2026-11-30".into() }),
        pending_period: seconds(59),
        at_most_once_in: seconds(-1),
        ..Campaign::default()
    };
    assert_eq!(
        errors(&wrong),
        [
            "name: is missing; give 1 to 100 characters",
            "valid.until: 2026-11-30 is an end before its beginning, 2026-12-01; swap them or move one",
            "audience: is missing; give audience.filter, audience.customers, or audience.everyone: true",
            "schedule: is missing; give schedule.now: true to send when it is started, or \
         schedule.once: 2026-12-01T09:00",
            "pending_period: 59s is not within 1 minute to 7 days; give a duration such as 12h",
            "at_most_once_in: 1s ago is not within 0 to 365 days; give a duration such as 12h",
            "content: a campaign with no channel sends nothing; give content.sms.text, or \
         content.email.subject with content.email.text or content.email.html",
        ]
    );
}

#[test]
fn durations_may_be_their_limits() {
    for (pending_period, at_most_once_in) in
        [(seconds(60), seconds(0)), (seconds(7 * 86_400), seconds(365 * 86_400)), (None, None)]
    {
        assert_eq!(errors(&Campaign { pending_period, at_most_once_in, ..campaign() }), [""; 0]);
    }
    let longer = Campaign {
        pending_period: seconds(7 * 86_400 + 1),
        at_most_once_in: seconds(365 * 86_400 + 1),
        ..campaign()
    };
    assert_eq!(
        errors(&longer),
        [
            "pending_period: 168h 1s is not within 1 minute to 7 days; give a duration such as 12h",
            "at_most_once_in: 8760h 1s is not within 0 to 365 days; give a duration such as 12h",
        ]
    );
}

#[test]
fn an_audience_that_selects_nobody_is_refused() {
    let error = |selection| {
        let audience = Some(Audience { selection: Some(selection) });
        errors(&Campaign { audience, ..campaign() }).remove(0)
    };
    assert_eq!(
        error(Selection::Everyone(false)),
        "audience.everyone: can only be true; for fewer customers give audience.filter or \
         audience.customers"
    );
    assert_eq!(
        error(Selection::Filter(" ".into())),
        "audience.filter: is empty; give an expression such as category:\"VIP\", or \
         audience.everyone: true"
    );
    assert_eq!(
        error(Selection::Customers(CustomerList::default())),
        "audience.customers: is empty; name 1 to 10,000 customers"
    );
    let many = CustomerList { external_ids: vec!["C1".into(); 10_001] };
    assert_eq!(
        error(Selection::Customers(many)),
        "audience.customers: names 10001 customers; 10,000 at most, so use audience.filter"
    );
}

#[test]
fn now_can_only_be_true() {
    let schedule = Some(Schedule { when: Some(When::Now(false)) });
    assert_eq!(errors(&Campaign { schedule, ..campaign() }), ["schedule.now: can only be true"]);
}

#[test]
fn what_only_the_service_sets_is_dropped() {
    let given = Campaign { id: "x".into(), version: 9, run_id: "y".into(), state: 3, ..campaign() };
    assert_eq!(settable(given), campaign());
}

#[test]
fn setting_every_field_to_what_it_is_changes_nothing() {
    let whole = settable(merged(&campaign(), campaign(), SETTABLE));
    assert_eq!(whole, campaign());
}

#[test]
fn only_the_named_fields_change() {
    let email = EmailContent { subject: "Hi".into(), text: "Hello".into(), html: String::new() };
    let given = Campaign {
        name: "Other".into(),
        active: false,
        valid: Some(Validity { from: "2026-12-01".into(), until: "2026-12-31".into() }),
        content: Some(Content { sms: None, email: Some(email.clone()) }),
        ..Campaign::default()
    };
    let merged = merged(&campaign(), given, &["active", "valid.until", "content.email"]);
    let expected = Campaign {
        active: false,
        valid: Some(Validity { from: String::new(), until: "2026-12-31".into() }),
        content: Some(Content { email: Some(email), ..campaign().content.expect("content") }),
        ..campaign()
    };
    assert_eq!(merged, expected);
}
