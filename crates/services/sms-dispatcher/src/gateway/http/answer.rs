//! What a described gateway's answers say.

use carillon_contracts::campaign::v1::HttpGateway;
use carillon_dispatch::Outcome;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::{
    verdict::{by_status, code, wait},
    wire::Answer,
};

/// Where the answer says what.
pub(super) struct Reading {
    id: Option<String>,
    outcome: Option<Words>,
    idempotent: bool,
}

struct Words {
    pointer: String,
    accepted: Vec<String>,
    transient: Vec<String>,
    permanent: Vec<String>,
}

impl Reading {
    pub(super) fn compile(settings: &HttpGateway) -> Result<Self, String> {
        let pointer = |field: &str, pointer: &str| match pointer {
            "" => Ok(None),
            given if given.starts_with('/') => Ok(Some(given.to_owned())),
            other => Err(format!("http.{field}: '{other}' does not begin with / (RFC 6901)")),
        };
        let outcome = pointer("outcome_pointer", &settings.outcome_pointer)?.map(|pointer| Words {
            pointer,
            accepted: settings.accepted_words.clone(),
            transient: settings.transient_words.clone(),
            permanent: settings.permanent_words.clone(),
        });
        if outcome.as_ref().is_some_and(|words| words.accepted.is_empty()) {
            return Err("http.accepted_words: at least one is needed with outcome_pointer".into());
        }
        let idempotent = !settings.idempotency_header.is_empty();
        Ok(Self { id: pointer("id_pointer", &settings.id_pointer)?, outcome, idempotent })
    }

    pub(super) fn outcome(&self, answer: &Answer, now: Timestamp) -> Outcome {
        let body = answer.body.as_deref().unwrap_or_default();
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let said = self.outcome.as_ref().and_then(|words| {
            let word = word_at(body.as_ref()?, &words.pointer)?;
            words.say(&word, answer, now)
        });
        let sent = || Outcome::Sent {
            provider_id: self
                .id
                .as_ref()
                .and_then(|pointer| word_at(body.as_ref()?, pointer))
                .map(|id| code(&id))
                .unwrap_or_default(),
        };
        match (said, answer.status.is_success()) {
            (Some(Said::Accepted), _) => sent(),
            (Some(Said::Otherwise(outcome)), _) => outcome,
            (None, true) if self.outcome.is_none() => sent(),
            (None, true) => Outcome::InDoubt { code: "outcome_unknown".into() },
            // The first call under this id is still at work.
            (None, false) if self.idempotent && answer.status == StatusCode::CONFLICT => {
                Outcome::InDoubt { code: "http_409".into() }
            }
            (None, false) => by_status(answer.status, &answer.headers, now),
        }
    }
}

enum Said {
    Accepted,
    Otherwise(Outcome),
}

impl Words {
    fn say(&self, word: &str, answer: &Answer, now: Timestamp) -> Option<Said> {
        let among = |words: &[String]| words.iter().any(|known| known == word);
        if among(&self.accepted) {
            return Some(Said::Accepted);
        }
        if among(&self.transient) {
            let retry_after = wait(&answer.headers, now);
            return Some(Said::Otherwise(Outcome::Transient { code: code(word), retry_after }));
        }
        let refused = || Outcome::Permanent { reason: "refused", code: code(word) };
        among(&self.permanent).then(|| Said::Otherwise(refused()))
    }
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
        let reading = Reading::compile(settings).expect("compiled");
        reading.outcome(&answer, Timestamp::UNIX_EPOCH)
    }

    fn with_status(word: &str) -> String {
        format!(r#"{{"messages":[{{"id":77,"status":{word}}}]}}"#)
    }

    #[test]
    fn words_say_what_became_of_it_whatever_the_status() {
        let sent = Outcome::Sent { provider_id: "77".into() };
        assert_eq!(read(&by_words(), 200, &with_status("0")), sent);
        assert_eq!(read(&by_words(), 207, &with_status("\"ok\"")), sent);
        let throttled = read(&by_words(), 500, &with_status("\"throttled\""));
        let transient = Outcome::Transient { code: "throttled".into(), retry_after: None };
        assert_eq!(throttled, transient);
        let barred = read(&by_words(), 200, &with_status("\"barred\""));
        assert_eq!(barred, Outcome::Permanent { reason: "refused", code: "barred".into() });
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
        assert_eq!(read(&plain, 202, "<ok/>"), Outcome::Sent { provider_id: String::new() });
        assert!(matches!(read(&plain, 500, ""), Outcome::InDoubt { .. }));
        assert!(matches!(read(&plain, 409, ""), Outcome::Permanent { .. }));
        let keyed = HttpGateway { idempotency_header: "Idempotency-Key".into(), ..plain };
        assert!(matches!(read(&keyed, 409, ""), Outcome::InDoubt { .. }));
    }
}
