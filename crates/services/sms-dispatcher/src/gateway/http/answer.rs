//! What a described gateway's answers say.

use carillon_dispatch::Outcome;
use carillon_http_gateway::{Shape, Words};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::{
    verdict::{by_status, code, parts, wait},
    wire::Answer,
};

pub(super) fn outcome(shape: &Shape, answer: &Answer, now: Timestamp) -> Outcome {
    let reading = &shape.reading;
    let body = answer.body.as_deref().unwrap_or_default();
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let said = reading.outcome.as_ref().and_then(|words| {
        let word = word_at(body.as_ref()?, &words.pointer)?;
        say(words, &word, answer, now)
    });
    let sent = || Outcome::Sent {
        provider_id: reading
            .id
            .as_ref()
            .and_then(|pointer| word_at(body.as_ref()?, pointer))
            .map(|id| code(&id))
            .unwrap_or_default(),
        parts: reading.units.as_ref().and_then(|pointer| parts(body.as_ref()?.pointer(pointer)?)),
    };
    match (said, answer.status.is_success()) {
        (Some(Said::Accepted), _) => sent(),
        (Some(Said::Otherwise(outcome)), _) => outcome,
        (None, true) if reading.outcome.is_none() => sent(),
        (None, true) => Outcome::InDoubt { code: "outcome_unknown".into() },
        // The first call under this id is still at work.
        (None, false) if shape.idempotency.is_some() && answer.status == StatusCode::CONFLICT => {
            Outcome::InDoubt { code: "http_409".into() }
        }
        (None, false) => by_status(answer.status, &answer.headers, now),
    }
}

enum Said {
    Accepted,
    Otherwise(Outcome),
}

fn say(known: &Words, word: &str, answer: &Answer, now: Timestamp) -> Option<Said> {
    let among = |words: &[String]| words.iter().any(|known| known == word);
    if among(&known.accepted) {
        return Some(Said::Accepted);
    }
    if among(&known.transient) {
        let retry_after = wait(&answer.headers, now);
        return Some(Said::Otherwise(Outcome::Transient { code: code(word), retry_after }));
    }
    let refused = || Outcome::Permanent { reason: "refused", code: code(word) };
    among(&known.permanent).then(|| Said::Otherwise(refused()))
}

fn word_at(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(word) => Some(word.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carillon_contracts::campaign::v1::HttpGateway;
    use http::HeaderMap;

    use super::*;

    fn by_words() -> HttpGateway {
        HttpGateway {
            id_pointer: "/messages/0/id".into(),
            outcome_pointer: "/messages/0/status".into(),
            accepted_words: vec!["0".into(), "ok".into()],
            transient_words: vec!["throttled".into()],
            permanent_words: vec!["barred".into()],
            ..HttpGateway::default()
        }
    }

    fn read(settings: &HttpGateway, status: u16, body: &str) -> Outcome {
        let answer = Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: Some(Bytes::copy_from_slice(body.as_bytes())),
        };
        let url = "https://sms.example/".to_owned();
        let shape = Shape::compile(&HttpGateway { url, ..settings.clone() }).expect("compiled");
        outcome(&shape, &answer, Timestamp::UNIX_EPOCH)
    }

    fn with_status(word: &str) -> String {
        format!(r#"{{"messages":[{{"id":77,"status":{word}}}]}}"#)
    }

    #[test]
    fn words_say_what_became_of_it_whatever_the_status() {
        let sent = Outcome::Sent { provider_id: "77".into(), parts: None };
        assert_eq!(read(&by_words(), 200, &with_status("0")), sent);
        assert_eq!(read(&by_words(), 207, &with_status("\"ok\"")), sent);
        let throttled = read(&by_words(), 500, &with_status("\"throttled\""));
        let transient = Outcome::Transient { code: "throttled".into(), retry_after: None };
        assert_eq!(throttled, transient);
        let barred = read(&by_words(), 200, &with_status("\"barred\""));
        assert_eq!(barred, Outcome::Permanent { reason: "refused", code: "barred".into() });
    }

    #[test]
    fn units_are_read_where_the_pointer_says() {
        let counting = HttpGateway { units_pointer: "/messages/0/parts".into(), ..by_words() };
        let told = |settings: &HttpGateway, parts: &str| {
            let body = format!(r#"{{"messages":[{{"id":77,"status":"ok","parts":{parts}}}]}}"#);
            read(settings, 200, &body)
        };
        let sent = |parts| Outcome::Sent { provider_id: "77".into(), parts };
        assert_eq!(told(&counting, "3"), sent(Some(3)));
        assert_eq!(told(&counting, "\"3\""), sent(Some(3)));
        assert_eq!(told(&counting, "0"), sent(None));
        assert_eq!(read(&counting, 200, &with_status("\"ok\"")), sent(None));
        assert_eq!(told(&by_words(), "3"), sent(None), "nobody said where");
    }

    #[test]
    fn a_success_without_a_known_word_is_in_doubt() {
        for body in ["", "[]", &with_status("\"new\""), &with_status("null")] {
            let outcome = read(&by_words(), 200, body);
            assert_eq!(outcome, Outcome::InDoubt { code: "outcome_unknown".into() }, "{body}");
        }
        let refused = read(&by_words(), 422, "");
        assert_eq!(refused, Outcome::Permanent { reason: "refused", code: "http_422".into() });
    }

    #[test]
    fn without_words_the_status_says_it() {
        let plain = HttpGateway::default();
        let sent = Outcome::Sent { provider_id: String::new(), parts: None };
        assert_eq!(read(&plain, 202, "<ok/>"), sent);
        assert!(matches!(read(&plain, 500, ""), Outcome::InDoubt { .. }));
        assert!(matches!(read(&plain, 409, ""), Outcome::Permanent { .. }));
        let keyed = HttpGateway { idempotency_header: "Idempotency-Key".into(), ..plain };
        assert!(matches!(read(&keyed, 409, ""), Outcome::InDoubt { .. }));
    }
}
