//! An organisation with a gateway in Twilio's shape.

use crate::harness::{Harness, RUN_DAY, TOKEN, address, organisation};
use carillon_contracts::campaign::v1::{SmsGateway, TwilioGateway, sms_gateway::Kind};
use carillon_sinks::sms::{Behaviour, Options, SmsSink};

async fn sink() -> SmsSink {
    let login = Some(("AC1".to_owned(), TOKEN.to_owned()));
    SmsSink::start(Options { login, ..Options::default() }).await.expect("it listens")
}

fn gateway(sink: &SmsSink) -> SmsGateway {
    let twilio = TwilioGateway { base_url: sink.url(), account: "AC1".into() };
    SmsGateway { kind: Some(Kind::Twilio(twilio)), from: "+15005550006".into(), rate: 0 }
}

fn says(status: u16, retry_after: Option<u64>, body: &str) -> Behaviour {
    Behaviour::Answer { status, retry_after, body: body.into() }
}

#[tokio::test]
async fn a_message_leaves_as_twilio_wants_it() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(Some(gateway(&sink))).await;
    let messages = house.send("Hi & bye, 25 % off", 3).await;
    for (n, message) in messages.iter().enumerate() {
        let recorded = house.until(*message, "sent").await;
        assert_eq!(recorded.provider_id, format!("SM{message}"));
        let requests = sink.requests_of(&message.to_string());
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].method, "POST");
        assert_eq!(requests[0].target, "/2010-04-01/Accounts/AC1/Messages.json");
        let form = requests[0].form();
        let field = |name: &str| form.get(name).map(String::as_str);
        assert_eq!(field("To"), Some(address(n as u32).as_str()));
        assert_eq!(field("From"), Some("+15005550006"));
        assert_eq!(field("Body"), Some("Hi & bye, 25 % off"));
        assert_eq!(field("ValidityPeriod"), Some("3600"));
        let callback = format!(
            "{}/callbacks/sms/twilio/{}/{RUN_DAY}/{message}?token=",
            house.public_url,
            organisation()
        );
        assert!(field("StatusCallback").is_some_and(|url| url.starts_with(&callback)));
    }
    house.stop().await;
}

#[tokio::test]
async fn a_messaging_service_is_named_as_one() {
    let (house, sink) = (Harness::start().await, sink().await);
    let service = "MG0123456789abcdef0123456789abcdef";
    house.settings(Some(SmsGateway { from: service.into(), ..gateway(&sink) })).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "sent").await;
    let form = sink.requests_of(&message.to_string())[0].form();
    assert_eq!(form.get("MessagingServiceSid").map(String::as_str), Some(service));
    assert_eq!(form.get("From"), None);
    house.stop().await;
}

#[tokio::test]
async fn what_was_surely_not_taken_is_tried_again_until_it_is() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(Some(gateway(&sink))).await;
    sink.next([
        says(429, Some(2), r#"{"code":20429}"#),
        says(503, Some(1), ""),
        says(400, None, r#"{"code":21611}"#),
        says(401, None, r#"{"code":20003}"#),
    ]);
    let message = house.send("hello", 1).await[0];
    let waits = house.until(message, "queued").await;
    assert_eq!((waits.reason.as_str(), waits.provider_code.as_str()), ("retrying", "20429"));
    house.until_later(message, "sent").await;
    assert_eq!((sink.requests(), sink.taken()[&message.to_string()]), (5, 1));
    house.stop().await;
}

#[tokio::test]
async fn what_may_have_been_taken_is_unknown_and_never_tried_again() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(Some(gateway(&sink))).await;
    let doubts = [
        (Behaviour::AcceptAndClose, "closed_without_answer", 1),
        (Behaviour::Close, "closed_without_answer", 0),
        (Behaviour::AcceptAndCut, "answer_unreadable", 1),
        (Behaviour::AcceptSaying("<html>".into()), "answer_unreadable", 1),
        (says(500, None, r#"{"code":20500}"#), "http_500", 0),
        (says(502, None, ""), "http_502", 0),
        (says(503, None, ""), "http_503", 0),
        (says(504, None, ""), "http_504", 0),
    ];
    for (behaviour, code, taken) in doubts {
        sink.next([behaviour.clone()]);
        let message = house.send("hello", 1).await[0];
        let recorded = house.until(message, "unknown").await;
        assert_eq!(recorded.provider_code, code, "{behaviour:?}");
        house.clock.advance(jiff::SignedDuration::from_mins(10));
        let times = sink.taken().get(&message.to_string()).copied().unwrap_or_default();
        assert_eq!(times, taken, "{behaviour:?}");
    }
    // Whoever would call again would have done so before this one.
    let last = house.send("hello", 1).await[0];
    house.until(last, "sent").await;
    assert_eq!(sink.requests(), 9);
    house.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_fails_with_its_reason() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(Some(gateway(&sink))).await;
    let refusals =
        [(21_211, "number_invalid"), (21_610, "opted_out"), (21_408, "destination_not_allowed")];
    for (code, reason) in refusals {
        sink.next([says(400, None, &format!(r#"{{"code":{code},"message":"To +15555550000"}}"#))]);
        let message = house.send("hello", 1).await[0];
        let recorded = house.until(message, "failed").await;
        assert_eq!((recorded.reason.as_str(), recorded.provider_code), (reason, code.to_string()));
    }
    house.stop().await;
}

#[tokio::test]
async fn many_share_a_few_connections_and_each_is_sent_once() {
    let (house, sink) = (Harness::start().await, sink().await);
    house.settings(Some(gateway(&sink))).await;
    let messages = house.send("hello", 500).await;
    for message in &messages {
        house.until_later(*message, "sent").await;
    }
    assert_eq!(sink.taken().len(), 500);
    assert!(sink.taken().values().all(|times| *times == 1));
    house.stop().await;
}

#[tokio::test]
async fn a_wrong_token_waits_for_a_right_one() {
    let house = Harness::start().await;
    let login = Some(("AC1".to_owned(), "another".to_owned()));
    let strict = SmsSink::start(Options { login, ..Options::default() }).await.expect("listens");
    house.settings(Some(gateway(&strict))).await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "queued").await;
    assert_eq!(recorded.provider_code, "authentication_refused");
    assert_eq!(strict.total(), 0);
    house.stop().await;
}
