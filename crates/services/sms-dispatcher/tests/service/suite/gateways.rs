//! The gateways that the suite runs for, each with its provider on the wire.

use std::{fs, time::Duration};

use carillon_contracts::campaign::v1::{
    HttpGateway, SmppGateway, SmsGateway, TwilioGateway, sms_gateway::Kind,
};
use carillon_dispatch::sandbox::SandboxConfig;
use carillon_sinks::{
    smpp::Smsc,
    sms::{Behaviour, Options, SmsSink, Taken},
};
use carillon_sms_dispatcher::Config;
use serde_json::{Value, json};

use super::{Arrived, Rig, Wish};
use crate::harness::{Harness, TOKEN, patient};

const SLOWLY: Duration = Duration::from_millis(200);

fn from(kind: Kind) -> Option<SmsGateway> {
    Some(SmsGateway { kind: Some(kind), from: "Carillon".into(), rate: 0 })
}

fn with_sandbox(sandbox: SandboxConfig) -> Config {
    Config { sandbox, http: patient(), ..Config::default() }
}

pub struct Sandbox(SandboxConfig);

impl Rig for Sandbox {
    async fn start(wish: Wish) -> Self {
        let plain = SandboxConfig { enabled: true, ..SandboxConfig::default() };
        let config = match wish {
            Wish::TakesAll => plain,
            Wish::RefusesAll => SandboxConfig { refuse_share: 1.0, ..plain },
            Wish::FailsFirst => SandboxConfig { fail_share: 0.5, ..plain },
            Wish::FailsAlways => SandboxConfig { fail_share: 1.0, ..plain },
            Wish::TakesSlowly => {
                let latency_ms = u64::try_from(SLOWLY.as_millis()).expect("short");
                SandboxConfig { latency_ms, ..plain }
            }
            Wish::TakesAndIsLost => SandboxConfig { lose_share: 0.5, ..plain },
            Wish::Delivers => SandboxConfig { receipt_share: 1.0, ..plain },
            Wish::CannotDeliver => {
                SandboxConfig { receipt_share: 1.0, undelivered_share: 1.0, ..plain }
            }
        };
        Self(config)
    }

    fn config(&self) -> Config {
        with_sandbox(self.0.clone())
    }

    fn gateway(&self) -> Option<SmsGateway> {
        from(Kind::Sandbox(true))
    }

    fn arrived(&self, house: &Harness) -> Vec<Arrived> {
        let kept = fs::read_to_string(house.outbox.join("sms.jsonl")).unwrap_or_default();
        let line = |line| serde_json::from_str::<Value>(line).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let each = kept.lines().map(line);
        each.map(|line| Arrived { to: text(&line["to"]), text: text(&line["text"]) }).collect()
    }
}

/// A sink of HTTP requests that does what is wished.
async fn sink(wish: Wish, login: Option<(String, String)>) -> SmsSink {
    let receipts: &[&str] = match wish {
        Wish::Delivers => &["sent", "delivered"],
        Wish::CannotDeliver => &["sent", "undelivered"],
        _ => &[],
    };
    let receipts = receipts.iter().map(|status| (*status).to_owned()).collect();
    let latency = if wish == Wish::TakesSlowly { SLOWLY } else { Duration::ZERO };
    let options = Options { login, receipts, latency, ..Options::default() };
    let sink = SmsSink::start(options).await.expect("it listens");
    let answer = |status| Behaviour::Answer { status, retry_after: Some(1), body: String::new() };
    match wish {
        Wish::RefusesAll => sink.otherwise(answer(422)),
        Wish::FailsFirst => sink.next([answer(503), answer(429)]),
        Wish::FailsAlways => sink.otherwise(answer(503)),
        Wish::TakesAndIsLost => sink.next([Behaviour::AcceptAndClose]),
        Wish::TakesAll | Wish::TakesSlowly | Wish::Delivers | Wish::CannotDeliver => {}
    }
    sink
}

fn arrived(sink: &SmsSink, read: impl Fn(&Taken) -> Arrived) -> Vec<Arrived> {
    sink.all().iter().map(read).collect()
}

pub struct Twilio(SmsSink);

impl Rig for Twilio {
    async fn start(wish: Wish) -> Self {
        Self(sink(wish, Some(("AC1".to_owned(), TOKEN.to_owned()))).await)
    }

    fn config(&self) -> Config {
        with_sandbox(SandboxConfig::default())
    }

    fn gateway(&self) -> Option<SmsGateway> {
        from(Kind::Twilio(TwilioGateway { base_url: self.0.url(), account: "AC1".into() }))
    }

    fn arrived(&self, _: &Harness) -> Vec<Arrived> {
        arrived(&self.0, |taken| {
            let form = taken.request.form();
            Arrived { to: form["To"].clone(), text: form["Body"].clone() }
        })
    }
}

pub struct Described(SmsSink);

impl Rig for Described {
    async fn start(wish: Wish) -> Self {
        Self(sink(wish, None).await)
    }

    fn config(&self) -> Config {
        with_sandbox(SandboxConfig::default())
    }

    fn gateway(&self) -> Option<SmsGateway> {
        let body = r#"{"message_id":"{message_id}","to":"{to}","text":"{text}",
            "callback_url":"{callback_url}"}"#;
        let url = format!("{}/send", self.0.url());
        from(Kind::Http(HttpGateway { url, body: body.into(), ..HttpGateway::default() }))
    }

    fn arrived(&self, _: &Harness) -> Vec<Arrived> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        arrived(&self.0, |taken| {
            let body = taken.request.json().expect("JSON");
            Arrived { to: text(&body["to"]), text: text(&body["text"]) }
        })
    }
}

pub struct Smpp(pub Smsc);

impl Rig for Smpp {
    async fn start(wish: Wish) -> Self {
        let smsc = Smsc::start().await.expect("it listens");
        match wish {
            Wish::TakesAll => {}
            Wish::RefusesAll => smsc.order(json!({ "otherwise": { "status": 0x0B } })).await,
            Wish::FailsFirst => {
                smsc.next([json!({ "status": 0x58 }), json!({ "status": 8 })]).await
            }
            Wish::FailsAlways => smsc.order(json!({ "otherwise": { "status": 0x14 } })).await,
            Wish::TakesSlowly => {
                let delay = u64::try_from(SLOWLY.as_millis()).expect("short");
                smsc.order(json!({ "otherwise": { "delay": delay } })).await;
            }
            Wish::TakesAndIsLost => smsc.next([json!({ "close": true })]).await,
            Wish::Delivers => smsc.order(json!({ "receipts": { "stat": "DELIVRD" } })).await,
            Wish::CannotDeliver => smsc.order(json!({ "receipts": { "stat": "UNDELIV" } })).await,
        }
        Self(smsc)
    }

    fn config(&self) -> Config {
        with_sandbox(SandboxConfig::default())
    }

    fn gateway(&self) -> Option<SmsGateway> {
        let (url, system_id) = (self.0.url().to_owned(), "carillon".into());
        from(Kind::Smpp(SmppGateway { url, system_id, ..SmppGateway::default() }))
    }

    fn arrived(&self, _: &Harness) -> Vec<Arrived> {
        put_together(&self.0).0
    }

    fn in_part(&self) -> usize {
        put_together(&self.0).1
    }
}

/// Parts are put together as a phone does: by number, reference and place. What arrived whole, and
/// how much did not.
fn put_together(smsc: &Smsc) -> (Vec<Arrived>, usize) {
    let mut open: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut arrived = Vec::new();
    for part in smsc.taken() {
        let to = format!("+{}", part.to);
        let Some(header) = &part.header else {
            arrived.push(Arrived { to, text: part.text });
            continue;
        };
        let number = |at: usize| usize::from_str_radix(&header[at..at + 2], 16).expect("hex");
        assert_eq!(&header[..4], "0003");
        let (parts, place, message) = (number(6), number(8), format!("{to}/{}", &header[4..6]));
        let at = open.iter().position(|(known, _)| *known == message).unwrap_or_else(|| {
            open.push((message, vec![None; parts]));
            open.len() - 1
        });
        assert_eq!(open[at].1[place - 1].replace(part.text), None, "a part was sent twice");
        if open[at].1.iter().all(Option::is_some) {
            let text = open.remove(at).1.into_iter().flatten().collect();
            arrived.push(Arrived { to, text });
        }
    }
    (arrived, open.len())
}
