//! What Twilio's answers say.

use carillon_dispatch::Outcome;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::gateway::{
    verdict::{by_status, code, misconfigured, parts, wait},
    wire::Answer,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    sid: String,
    status: Option<String>,
    error_code: Option<u32>,
    /// "0" while a messaging service has not chosen a sender.
    num_segments: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Error {
    code: Option<u32>,
}

pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let body = answer.body.as_deref().unwrap_or_default();
    if answer.status.is_success() {
        let message: Message = serde_json::from_slice(body).unwrap_or_default();
        return accepted(&message);
    }
    let error: Error = serde_json::from_slice(body).unwrap_or_default();
    let plain = by_status(answer.status, &answer.headers, now);
    match (error.code, plain) {
        // A queue of the sender's that is full has room again later.
        (Some(21_611), _) if answer.status.is_client_error() => {
            Outcome::Transient { code: "21611".into(), retry_after: wait(&answer.headers, now) }
        }
        (Some(error), Outcome::Permanent { .. }) => refused(error),
        // The provider's code says more than the status it came with.
        (Some(error), Outcome::Transient { code, retry_after })
            if code != "authentication_refused" =>
        {
            Outcome::Transient { code: error.to_string(), retry_after }
        }
        (_, plain) => plain,
    }
}

fn accepted(message: &Message) -> Outcome {
    let sid = code(&message.sid);
    if sid.is_empty() {
        // Whoever answered, it was not in Twilio's words.
        return Outcome::InDoubt { code: "answer_unreadable".into() };
    }
    match message.status.as_deref() {
        Some("failed" | "undelivered" | "canceled") => Outcome::Permanent {
            reason: "refused",
            code: message.error_code.map(|code| code.to_string()).unwrap_or_default(),
        },
        _ => Outcome::Sent { provider_id: sid, parts: parts(&message.num_segments) },
    }
}

/// A 4xx with one of Twilio's codes: the message's fault, or that of the sender's settings.
fn refused(error: u32) -> Outcome {
    let code = error.to_string();
    let reason = match error {
        21_610 => "opted_out",
        // Not a number, a landline, a premium number, a short code, the sender itself.
        21_211 | 21_265 | 21_266 | 21_268 | 21_614 | 21_635 => "number_invalid",
        21_215 | 21_408 | 21_612 => "destination_not_allowed",
        21_602 | 21_619 => "text_empty",
        21_605 | 21_617 => "text_too_long",
        // From is missing, malformed, not the account's or not for SMS; the service has none.
        20_003
        | 20_008
        | 21_212
        | 21_601
        | 21_603
        | 21_606
        | 21_609
        | 21_659..=21_661
        | 21_701..=21_705 => {
            return misconfigured(&code);
        }
        _ => "refused",
    };
    Outcome::Permanent { reason, code }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

    use super::*;

    fn answer(status: u16, body: &str) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().expect("a header"));
        let body = Some(Bytes::copy_from_slice(body.as_bytes()));
        let status = StatusCode::from_u16(status).expect("a status");
        outcome(&Answer { status, headers, body }, Timestamp::UNIX_EPOCH)
    }

    fn transient(code: &str, seconds: u64) -> Outcome {
        let retry_after = Some(Duration::from_secs(seconds));
        Outcome::Transient { code: code.into(), retry_after }
    }

    fn permanent(reason: &'static str, code: &str) -> Outcome {
        Outcome::Permanent { reason, code: code.into() }
    }

    fn in_doubt(code: &str) -> Outcome {
        Outcome::InDoubt { code: code.into() }
    }

    #[test]
    fn a_message_with_an_id_is_sent() {
        let sent = Outcome::Sent { provider_id: "SM1".into(), parts: None };
        assert_eq!(answer(201, r#"{"sid":"SM1","status":"queued","error_code":null}"#), sent);
        assert_eq!(answer(200, r#"{"sid":"SM1"}"#), sent);
        let failed = r#"{"sid":"SM1","status":"failed","error_code":30006}"#;
        assert_eq!(answer(201, failed), permanent("refused", "30006"));
    }

    #[test]
    fn the_count_of_segments_is_read_and_makes_no_answer_unreadable() {
        let told = |said: &str| {
            answer(201, &format!(r#"{{"sid":"SM1","status":"queued","num_segments":{said}}}"#))
        };
        let sent = |parts| Outcome::Sent { provider_id: "SM1".into(), parts };
        assert_eq!(told(r#""2""#), sent(Some(2)));
        for unknown in [r#""0""#, "null", "{}", r#""many""#] {
            assert_eq!(told(unknown), sent(None), "{unknown}");
        }
        let failed = r#"{"sid":"SM1","status":"failed","error_code":30006,"num_segments":"2"}"#;
        assert_eq!(answer(201, failed), permanent("refused", "30006"));
    }

    #[test]
    fn a_success_in_other_words_proves_nothing() {
        for body in ["", "<html>", "{}", r#"{"sid":7}"#, r#"{"sid":"two words"}"#] {
            assert_eq!(answer(201, body), in_doubt("answer_unreadable"), "{body}");
        }
    }

    #[test]
    fn refusals_are_told_apart_by_code() {
        let refused = |code| answer(400, &format!(r#"{{"code":{code},"message":"text"}}"#));
        assert_eq!(refused(21211), permanent("number_invalid", "21211"));
        assert_eq!(refused(21610), permanent("opted_out", "21610"));
        assert_eq!(refused(21617), permanent("text_too_long", "21617"));
        assert_eq!(refused(99999), permanent("refused", "99999"));
        assert_eq!(refused(21606), transient("21606", 60));
        assert_eq!(refused(21611), transient("21611", 7));
        assert_eq!(answer(400, "no JSON"), permanent("refused", "http_400"));
    }

    #[test]
    fn what_can_be_mended_waits() {
        let busy = r#"{"code":20429,"message":"Too many requests"}"#;
        assert_eq!(answer(429, busy), transient("20429", 7));
        assert_eq!(answer(503, ""), transient("http_503", 7));
        assert_eq!(answer(401, r#"{"code":20003}"#), transient("authentication_refused", 60));
        assert_eq!(answer(404, r#"{"code":20404}"#), transient("20404", 60));
        assert_eq!(answer(500, r#"{"code":20500}"#), in_doubt("http_500"));
        assert_eq!(answer(502, ""), in_doubt("http_502"));
    }
}
