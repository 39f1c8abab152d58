//! Organisations, campaigns and texts as the audit tells of them: short, without secrets, and without
//! what could name a customer. A filter, a list of customers and the body of an e-mail are told of by
//! their hashes.

use carillon_audit::{Change, Fields, fields};
use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, CampaignState, ConsentDefault, HttpGateway, Organisation, SmsGateway,
        SmtpServer, SmtpTls, audience::Selection, schedule::When, sms_gateway::Kind,
    },
    jobs::v1::Content,
};
use prost_types::Duration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lifecycle;

/// What `org set` sets.
pub(crate) fn settings(organisation: &Organisation) -> Fields {
    let consent = match organisation.consent_default() {
        ConsentDefault::Unspecified | ConsentDefault::NotSpecified => "not_specified",
        ConsentDefault::Given => "given",
    };
    fields([
        ("name", json!(organisation.name)),
        ("time_zone", json!(organisation.time_zone)),
        ("default_region", json!(organisation.default_region)),
        ("consent_default", json!(consent)),
        ("require_consent", json!(organisation.require_consent)),
        ("subscribe_default", json!(organisation.subscribe_default)),
        ("double_opt_in", json!(organisation.double_opt_in)),
        ("low_balance", json!(organisation.low_balance)),
        ("paused", json!(organisation.paused)),
        ("markets", json!(organisation.markets)),
        ("rates", json!(organisation.rates)),
    ])
}

/// An organisation's gateways for SMS, by the names of their settings.
const GATEWAYS: [(&str, OfOrganisation); 2] = [
    ("sms", |organisation| organisation.sms.as_ref()),
    ("sms_standby", |organisation| organisation.sms_standby.as_ref()),
];

type OfOrganisation = fn(&Organisation) -> Option<&SmsGateway>;

/// Where a provider may want a key.
const PARTS: [(&str, OfGateway); 3] = [
    ("query", |http| query(&http.url).to_owned()),
    ("headers", |http| format!("{:?}", http.headers)),
    ("body", |http| http.body.clone()),
];

type OfGateway = fn(&HttpGateway) -> String;

/// Every setting that differs, the gateways' among them; without the secrets kept beside them.
pub(crate) fn settings_changed(before: &Organisation, after: &Organisation) -> Change {
    let all = |organisation: &Organisation| {
        let mut all = settings(organisation);
        all.extend(organisation.smtp.as_ref().map(smtp).unwrap_or_default());
        for (name, gateway) in GATEWAYS {
            all.extend(gateway(organisation).map(|gateway| sms(name, gateway)).unwrap_or_default());
        }
        all
    };
    let mut change = Change::between(all(before), all(after));
    for (name, gateway) in GATEWAYS {
        for (part, read) in PARTS {
            let of = |organisation| {
                gateway(organisation).and_then(described).map(read).unwrap_or_default()
            };
            let (was, is) = (of(before), of(after));
            let there = |text: &str| !text.is_empty() && text != "{}";
            let name = format!("{name}.{part}");
            change = change.with_secret(&name, there(&was), there(&is), was != is);
        }
    }
    change
}

fn described(gateway: &SmsGateway) -> Option<&HttpGateway> {
    match gateway.kind.as_ref()? {
        Kind::Http(http) => Some(http),
        _ => None,
    }
}

fn query(url: &str) -> &str {
    url.split_once('?').map_or("", |(_, query)| query)
}

fn smtp(server: &SmtpServer) -> Fields {
    let tls = match server.tls() {
        SmtpTls::Unspecified => Value::Null,
        SmtpTls::None => json!("none"),
        SmtpTls::Starttls => json!("starttls"),
        SmtpTls::Implicit => json!("implicit"),
    };
    let throttle = server.throttle.unwrap_or_default();
    fields([
        ("smtp.host", json!(server.host)),
        ("smtp.port", json!(server.port)),
        ("smtp.tls", tls),
        ("smtp.user", json!(server.user)),
        ("smtp.from", json!(server.from)),
        ("smtp.from_name", json!(server.from_name)),
        ("smtp.reply_to", json!(server.reply_to)),
        ("smtp.throttle.mails", json!(throttle.mails)),
        ("smtp.throttle.pause", seconds(throttle.pause.as_ref())),
        ("smtp.throttle.gap", seconds(throttle.gap.as_ref())),
        ("smtp.connections", json!(server.connections)),
    ])
}

fn sms(setting: &str, gateway: &SmsGateway) -> Fields {
    let mut told = fields([("from", json!(gateway.from)), ("rate", json!(gateway.rate))]);
    let kind = match &gateway.kind {
        None => Fields::new(),
        Some(Kind::Sandbox(_)) => fields([("kind", json!("sandbox"))]),
        Some(Kind::Twilio(twilio)) => fields([
            ("kind", json!("twilio")),
            ("url", json!(twilio.base_url)),
            ("account", json!(twilio.account)),
        ]),
        Some(Kind::Http(http)) => fields([
            ("kind", json!("http")),
            ("method", json!(http.method)),
            ("url", json!(http.url.split('?').next())),
            ("content_type", json!(http.content_type)),
            ("id_pointer", json!(http.id_pointer)),
            ("outcome_pointer", json!(http.outcome_pointer)),
            ("units_pointer", json!(http.units_pointer)),
            ("accepted_words", json!(http.accepted_words)),
            ("transient_words", json!(http.transient_words)),
            ("permanent_words", json!(http.permanent_words)),
            ("idempotency_header", json!(http.idempotency_header)),
        ]),
        Some(Kind::Smpp(smpp)) => fields([
            ("kind", json!("smpp")),
            ("url", json!(smpp.url)),
            ("account", json!(smpp.system_id)),
            ("system_type", json!(smpp.system_type)),
            ("connections", json!(smpp.connections)),
            ("window", json!(smpp.window)),
        ]),
    };
    told.extend(kind);
    told.into_iter().map(|(name, value)| (format!("{setting}.{name}"), value)).collect()
}

pub(crate) fn campaign(campaign: &Campaign) -> Fields {
    let valid = campaign.valid.clone().unwrap_or_default();
    let when = campaign.schedule.as_ref().and_then(|schedule| schedule.when.as_ref());
    let schedule = match when {
        None => Value::Null,
        Some(When::Now(_)) => json!("now"),
        Some(When::Once(at)) => json!(at),
    };
    let mut told = fields([
        ("name", json!(campaign.name)),
        ("active", json!(campaign.active)),
        ("valid.from", json!(valid.from)),
        ("valid.until", json!(valid.until)),
        ("audience", campaign.audience.as_ref().map_or(Value::Null, audience)),
        ("schedule", schedule),
        ("pending_period", seconds(campaign.pending_period.as_ref())),
        ("at_most_once_in", seconds(campaign.at_most_once_in.as_ref())),
    ]);
    told.extend(campaign.content.as_ref().map(content).unwrap_or_default());
    told
}

fn audience(audience: &Audience) -> Value {
    match &audience.selection {
        None => Value::Null,
        Some(Selection::Everyone(_)) => json!("everyone"),
        // It may well compare with somebody's name or number.
        Some(Selection::Filter(filter)) => json!({ "filter": hashed(filter) }),
        Some(Selection::Customers(list)) => {
            let ids = &list.external_ids;
            json!({ "customers": ids.len(), "external_ids": hashed(&ids.join("\n")) })
        }
    }
}

pub(crate) fn content(content: &Content) -> Fields {
    let mut told = Fields::new();
    if let Some(sms) = &content.sms {
        told.extend(fields([
            ("content.sms.text", json!(sms.text)),
            ("content.sms.downgrade", json!(sms.downgrade)),
        ]));
    }
    if let Some(email) = &content.email {
        told.extend(fields([
            ("content.email.subject", json!(email.subject)),
            ("content.email.text", hashed(&email.text)),
            ("content.email.html", hashed(&email.html)),
        ]));
    }
    if let Some(named) = &content.template {
        let told_of = format!("templates/{} version {}", named.template, named.version);
        told.extend(fields([("content.template", json!(told_of))]));
    }
    told
}

pub(crate) fn template(name: &str, version: u64, texts: &Content) -> Fields {
    let mut told = fields([("name", json!(name)), ("version", json!(version))]);
    told.extend(content(texts));
    told
}

/// What a pause, a resumption or a cancellation changes.
pub(crate) fn standing(state: CampaignState, campaign: &Campaign) -> Fields {
    fields([("state", json!(lifecycle::word(state))), ("active", json!(campaign.active))])
}

/// Shows that a long text is another one, and proves which it was; nothing for none.
fn hashed(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!(format!("sha256:{hex}"))
}

fn seconds(duration: Option<&Duration>) -> Value {
    duration.map_or(Value::Null, |duration| match duration.nanos {
        0 => json!(format!("{}s", duration.seconds)),
        nanos => json!(format!("{}.{nanos:09}s", duration.seconds)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use carillon_contracts::{
        campaign::v1::{CustomerList, Schedule},
        jobs::v1::{EmailContent, SmsContent},
    };

    use super::*;
    use crate::domain::organisation::SETTABLE;

    fn with_gateway(url: &str, body: &str) -> Organisation {
        let headers = [("Authorization".to_owned(), "Bearer hunter2".to_owned())].into();
        let http =
            HttpGateway { url: url.into(), body: body.into(), headers, ..HttpGateway::default() };
        let sms = SmsGateway { kind: Some(Kind::Http(http)), from: "Cafe".into(), rate: 0 };
        Organisation { sms: Some(sms), ..Organisation::default() }
    }

    #[test]
    fn what_a_provider_is_called_with_is_not_told() {
        let before = Organisation::default();
        let after = with_gateway("https://sms.example/send?key=hunter2", "pin=hunter2");
        let told = format!("{:?}", settings_changed(&before, &after));
        assert!(!told.contains("hunter2"), "{told}");
        for part in ["https://sms.example/send", "sms.query", "sms.headers", "sms.body"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let other = with_gateway("https://sms.example/send?key=hunter2", "pin=hunter3");
        let told = settings_changed(&after, &other);
        assert_eq!(told, Change::default().with_secret("sms.body", true, true, true));
        assert!(settings_changed(&other, &other).is_empty());
    }

    #[test]
    fn a_setting_is_told_with_what_it_was() {
        let before = Organisation { low_balance: 5, ..Organisation::default() };
        let after = Organisation { low_balance: 7, ..Organisation::default() };
        let expected = Change::between(
            fields([("low_balance", json!(5))]),
            fields([("low_balance", json!(7))]),
        );
        assert_eq!(settings_changed(&before, &after), expected);
    }

    #[test]
    fn every_setting_that_can_be_set_is_told() {
        let told = settings(&Organisation::default());
        let names: BTreeSet<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(names, SETTABLE.iter().copied().collect());
    }

    #[test]
    fn whoever_a_campaign_is_for_is_not_named() {
        let selections = [
            Selection::Filter("phone:\"+31612345678\"".into()),
            Selection::Customers(CustomerList { external_ids: vec!["+31612345678".into()] }),
        ];
        for selection in selections {
            let told = campaign(&Campaign {
                audience: Some(Audience { selection: Some(selection) }),
                ..Campaign::default()
            });
            let text = Value::Object(told).to_string();
            assert!(text.contains("sha256:") && !text.contains("612345678"), "{text}");
        }
    }

    #[test]
    fn every_field_of_a_campaign_that_changes_shows() {
        let before = Campaign::default();
        let text = |text: &str| SmsContent { text: text.into(), ..SmsContent::default() };
        let sms = |sms| Some(Content { sms: Some(sms), ..Content::default() });
        let email = |email| Some(Content { email: Some(email), ..Content::default() });
        let when = |when| Some(Schedule { when: Some(when) });
        let changed = [
            Campaign { name: "x".into(), ..before.clone() },
            Campaign { active: true, ..before.clone() },
            Campaign { schedule: when(When::Now(true)), ..before.clone() },
            Campaign { schedule: when(When::Once("2026-12-01T09:00".into())), ..before.clone() },
            Campaign { pending_period: Some(Duration { seconds: 60, nanos: 1 }), ..before.clone() },
            Campaign { content: sms(text("Hi")), ..before.clone() },
            Campaign {
                content: sms(SmsContent { downgrade: true, ..text("Hi") }),
                ..before.clone()
            },
            Campaign {
                content: email(EmailContent { html: "<p>".into(), ..EmailContent::default() }),
                ..before.clone()
            },
        ];
        let all: Vec<Fields> = changed.iter().map(campaign).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(!Change::between(campaign(&before), one.clone()).is_empty(), "{at}");
            assert!(all[..at].iter().all(|other| other != one), "{at}");
        }
        assert_eq!(seconds(Some(&Duration { seconds: 60, nanos: 1 })), json!("60.000000001s"));
        assert_eq!(seconds(Some(&Duration { seconds: 60, nanos: 0 })), json!("60s"));
    }
}
