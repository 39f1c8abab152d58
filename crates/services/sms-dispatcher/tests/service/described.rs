//! Organisations with a gateway that their settings describe, with the sandbox, and with none.

use crate::harness::{Harness, TOKEN, address, customer, organisation, patient, saying};
use carillon_contracts::campaign::v1::{HttpGateway, Organisation, SmsGateway, sms_gateway::Kind};
use carillon_contracts::jobs::v1::Content;
use carillon_dispatch::sandbox::SandboxConfig;
use carillon_sealing::{Linked, Links, WrappingKey};
use carillon_sinks::sms::{Behaviour, Options, SmsSink};
use carillon_sms_dispatcher::Config;

async fn sink() -> SmsSink {
    SmsSink::start(Options::default()).await.expect("it listens")
}

fn described(http: HttpGateway) -> Option<SmsGateway> {
    Some(SmsGateway { kind: Some(Kind::Http(http)), from: "Carillon".into(), rate: 0 })
}

fn plain(sink: &SmsSink) -> HttpGateway {
    HttpGateway { url: format!("{}/send", sink.url()), ..HttpGateway::default() }
}

fn with_sandbox() -> Config {
    let sandbox = SandboxConfig { enabled: true, ..SandboxConfig::default() };
    Config { sandbox, http: patient(), ..Config::default() }
}

fn kept_by_sandbox(house: &Harness) -> usize {
    let kept = std::fs::read_to_string(house.outbox.join("sms.jsonl"));
    kept.map(|text| text.lines().count()).unwrap_or_default()
}

#[tokio::test]
async fn every_field_stands_where_the_settings_put_it() {
    let (house, sink) = (Harness::start().await, sink().await);
    let http = HttpGateway {
        method: "PUT".into(),
        url: format!("{}/v1/{{to}}?text={{text}}", sink.url()),
        headers: [
            ("Authorization".to_owned(), "Bearer {token}".to_owned()),
            ("X-Until".to_owned(), "{deadline}".to_owned()),
            ("X-Text".to_owned(), "{text}".to_owned()),
        ]
        .into(),
        body: r#"{"message_id":"{message_id}","m":{"text":"{text}","from":"{from}"},
            "ttl":{validity_seconds},"callback_url":"{callback_url}"}"#
            .into(),
        id_pointer: "/id".into(),
        ..HttpGateway::default()
    };
    house.settings(described(http)).await;
    let text = "Say \"hi\" & { go }\r\nX-Evil: 1";
    let message = house.send(text, 1).await[0];
    assert_eq!(house.until(message, "sent").await.provider_id, message.to_string());
    let request = &sink.requests_of(&message.to_string())[0];
    assert_eq!(request.method, "PUT");
    let url = url::Url::parse(&format!("http://sink{}", request.target)).expect("a URL");
    assert_eq!(url.path(), format!("/v1/{}", address(0).replace('+', "%2B")));
    let query: Vec<_> = url.query_pairs().into_owned().collect();
    assert_eq!(query, [("text".to_owned(), text.to_owned())]);
    assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(request.header("x-until"), Some("2027-01-15T09:00:00Z"));
    assert_eq!(request.header("x-text"), Some("Say \"hi\" & { go }  X-Evil: 1"));
    assert_eq!(request.header("x-evil"), None);
    let body = request.json().expect("JSON");
    assert_eq!(body["m"]["text"], text);
    assert_eq!(body["m"]["from"], "Carillon");
    assert_eq!(body["ttl"], 3_600);
    house.stop().await;
}

#[tokio::test]
async fn a_form_is_written_as_a_form() {
    let (house, sink) = (Harness::start().await, sink().await);
    let http = HttpGateway {
        content_type: "application/x-www-form-urlencoded".into(),
        body: "id={message_id}&t={text}&n={to}".into(),
        ..plain(&sink)
    };
    sink.otherwise(Behaviour::AcceptSaying(String::new()));
    house.settings(described(http)).await;
    let message = house.send("1 + 1 = 2 & so on", 1).await[0];
    house.until(message, "sent").await;
    // The sink finds ids in JSON only, so this one it merely counts.
    assert_eq!((sink.requests(), sink.total()), (1, 1));
    house.stop().await;
}

#[tokio::test]
async fn words_in_the_answer_say_what_became_of_it() {
    let (house, sink) = (Harness::start().await, sink().await);
    let http = HttpGateway {
        outcome_pointer: "/status".into(),
        accepted_words: vec!["accepted".into()],
        transient_words: vec!["busy".into()],
        permanent_words: vec!["barred".into()],
        ..plain(&sink)
    };
    house.settings(described(http)).await;
    let busy = r#"{"status":"busy"}"#.to_owned();
    sink.next([Behaviour::Answer { status: 500, retry_after: Some(1), body: busy }]);
    let message = house.send("hello", 1).await[0];
    house.until_later(message, "sent").await;
    let barred = r#"{"status":"barred"}"#.to_owned();
    sink.next([Behaviour::Answer { status: 200, retry_after: None, body: barred }]);
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "failed").await;
    assert_eq!((recorded.reason.as_str(), recorded.provider_code.as_str()), ("refused", "barred"));
    sink.next([Behaviour::AcceptSaying("no JSON".into())]);
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "unknown").await.provider_code, "outcome_unknown");
    house.stop().await;
}

#[tokio::test]
async fn a_gateway_that_knows_ids_is_called_again_under_the_same_one() {
    let house = Harness::start().await;
    let idempotency_header = Some("Idempotency-Key".to_owned());
    let options = Options { idempotency_header, ..Options::default() };
    let sink = SmsSink::start(options).await.expect("it listens");
    let http = HttpGateway { idempotency_header: "Idempotency-Key".into(), ..plain(&sink) };
    house.settings(described(http)).await;
    sink.next([Behaviour::AcceptAndClose]);
    let message = house.send("hello", 1).await[0];
    house.until_later(message, "sent").await;
    assert_eq!((sink.requests(), sink.taken()[&message.to_string()]), (2, 1));
    let request = &sink.requests_of(&message.to_string())[0];
    assert_eq!(request.header("idempotency-key"), Some(message.to_string().as_str()));
    house.stop().await;
}

#[tokio::test]
async fn wrong_settings_wait_for_right_ones() {
    let (house, sink) = (Harness::start().await, sink().await);
    house
        .settings(described(HttpGateway { url: "ftp://x".into(), ..HttpGateway::default() }))
        .await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "queued").await;
    assert_eq!(recorded.provider_code, "gateway_misconfigured");
    house.settings(described(plain(&sink))).await;
    house.until_later(message, "sent").await;
    assert_eq!(sink.taken()[&message.to_string()], 1);
    house.stop().await;
}

#[tokio::test]
async fn a_number_outside_the_markets_never_reaches_the_provider() {
    for (market, state, reason) in [("US", "sent", ""), ("NL", "failed", "market_not_allowed")] {
        let (house, sink) = (Harness::start().await, sink().await);
        let (sms, markets) = (described(plain(&sink)), vec![market.to_owned()]);
        house.set(Organisation { sms, markets, ..Organisation::default() }).await;
        let message = house.send("hello", 1).await[0];
        assert_eq!(house.until(message, state).await.reason, reason, "{market}");
        assert_eq!(sink.requests(), u64::from(state == "sent"), "{market}");
        house.stop().await;
    }
}

#[tokio::test]
async fn without_a_gateway_the_sandbox_keeps_them_where_there_is_one() {
    let house = Harness::with(with_sandbox()).await;
    house.settings(None).await;
    let messages = house.send("hello", 3).await;
    for message in messages {
        house.until(message, "sent").await;
    }
    assert_eq!(kept_by_sandbox(&house), 3);
    house.stop().await;
}

#[tokio::test]
async fn without_a_gateway_and_a_sandbox_they_fail() {
    let house = Harness::start().await;
    house.settings(None).await;
    let message = house.send("hello", 1).await[0];
    assert_eq!(house.until(message, "failed").await.reason, "no_sms_gateway");
    house.stop().await;
}

#[tokio::test]
async fn an_organisation_nobody_has_heard_of_yet_waits() {
    let house = Harness::with(with_sandbox()).await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "queued").await;
    assert_eq!(recorded.provider_code, "organisation_unknown");
    assert_eq!(kept_by_sandbox(&house), 0);
    house.settings(None).await;
    house.until_later(message, "sent").await;
    house.stop().await;
}

#[tokio::test]
async fn the_unsubscribe_link_is_counted_as_it_is_sent() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(described(plain(&sink))).await;
    let text = "Hello. Stop: {UnsubscribeUrl}";
    let message = house.send(text, 1).await[0];
    let recorded = house.until(message, "sent").await;
    let links = Links::new(&house.public_url, &WrappingKey::new([3; 32]));
    let url = links.unsubscribe_url(Linked {
        organisation: organisation().uuid(),
        customer: customer(0).uuid(),
        channel: 1,
    });
    let sent = format!("Hello. Stop: {url}");
    let body = sink.requests_of(&message.to_string())[0].json().expect("JSON");
    assert_eq!(body["text"], sent);
    assert_eq!(recorded.units, i64::from(carillon_content::sms::count(&sent).parts));
    house.stop().await;
}

#[tokio::test]
async fn what_a_test_key_started_reaches_no_gateway_and_costs_nothing() {
    for (config, kept) in
        [(with_sandbox(), 3), (Config { http: patient(), ..Config::default() }, 0)]
    {
        let (house, sink) = (Harness::with(config).await, sink().await);
        house.settings(described(plain(&sink))).await;
        let content = Content { test: true, ..saying("Hi") };
        for message in house.send_content(content, 3).await {
            let recorded = house.until(message, "sent").await;
            assert_eq!((recorded.units, recorded.provider_id), (0, message.to_string()));
        }
        assert_eq!((sink.total(), kept_by_sandbox(&house)), (0, kept));
        let real = house.send("Hi", 1).await[0];
        assert_eq!(house.until(real, "sent").await.units, 1);
        assert_eq!(sink.total(), 1, "what is no test leaves as ever");
        house.stop().await;
    }
}
