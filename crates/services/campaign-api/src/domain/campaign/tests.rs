use carillon_contracts::{
    campaign::v1::{Schedule, Validity, schedule::When},
    jobs::v1::{Content, EmailContent, SmsContent, TemplateVersion},
};

use super::*;

fn campaign() -> Campaign {
    Campaign {
        name: "Members' Monday".into(),
        active: true,
        audience: Some(Audience { selection: Some(Selection::Everyone(true)) }),
        schedule: Some(Schedule { when: Some(When::Now(true)) }),
        content: Some(Content {
            sms: Some(SmsContent { text: "Hi".into(), ..Default::default() }),
            ..Default::default()
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
        content: Some(Content { sms: None, email: Some(email.clone()), ..Default::default() }),
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

fn pinned() -> Campaign {
    let template = TemplateVersion { template: "id".into(), version: 2, name: "welcome".into() };
    let content = campaign().content.expect("content");
    Campaign { content: Some(Content { template: Some(template), ..content }), ..campaign() }
}

fn naming(template: &str, version: u64) -> Campaign {
    let template = TemplateVersion { template: template.into(), version, name: String::new() };
    let content = Content { template: Some(template), ..Content::default() };
    Campaign { content: Some(content), active: false, ..campaign() }
}

#[test]
fn a_text_in_the_place_of_saved_ones_is_the_campaigns_own() {
    let sms = Some(SmsContent { text: "Other".into(), ..Default::default() });
    let given = Campaign {
        content: Some(Content { sms: sms.clone(), ..Default::default() }),
        ..Campaign::default()
    };
    let merged_with = |given: &Campaign, paths: &[&'static str]| {
        merged(&pinned(), given.clone(), paths).content.expect("content")
    };
    let own = merged_with(&given, &["content.sms"]);
    assert_eq!((own.sms, own.template), (sms, None));
    let kept = merged_with(&Campaign::default(), &["content.template"]);
    assert_eq!(Some(kept), campaign().content, "the texts stay, as its own");
    let named = merged_with(&naming("other", 0), &["content.template"]);
    assert_eq!(Some(named), naming("other", 0).content);
    let whole = settable(merged(&pinned(), pinned(), SETTABLE));
    assert_eq!(whole, pinned());
}

#[test]
fn to_name_the_same_texts_again_changes_nothing_of_what_was_started() {
    for (template, version) in [("welcome", 0), ("welcome", 2), ("id", 0), ("id", 2)] {
        let switched = still_pinned(&pinned(), naming(template, version));
        assert_eq!(switched, Campaign { active: false, ..pinned() }, "{template}@{version}");
    }
    for other in [naming("welcome", 3), naming("other", 0), campaign()] {
        assert_eq!(still_pinned(&pinned(), other.clone()), other);
    }
}
