//! What an HTTP answer says of a message, where the provider says no more.

use std::time::Duration;

use carillon_dispatch::Outcome;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};
use serde_json::Value;

use super::provider::MENDING;

/// No provider's word keeps a message waiting for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Surely not taken, and not the message's fault.
pub(crate) fn misconfigured(code: &str) -> Outcome {
    Outcome::Transient { code: code.into(), retry_after: Some(MENDING) }
}

/// A status that is not 2xx. 429 (RFC 6585) and 425 (RFC 8470) say by their meaning that nothing was
/// processed; a 503 says so where it names the time to come again. Without that it may be a proxy's,
/// about a server that took the message, as any other failure may.
pub(crate) fn by_status(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    let code = format!("http_{}", status.as_u16());
    let retry_after = wait(headers, now);
    match status.as_u16() {
        425 | 429 => Outcome::Transient { code, retry_after },
        503 if retry_after.is_some() => Outcome::Transient { code, retry_after },
        408 => Outcome::InDoubt { code },
        401 | 403 | 407 => misconfigured("authentication_refused"),
        // It is elsewhere, or not to be called like this.
        301 | 307 | 308 | 404 | 405 | 406 | 415 => misconfigured(&code),
        400..=499 => Outcome::Permanent { reason: "refused", code },
        _ => Outcome::InDoubt { code },
    }
}

/// Of a Retry-After header, as seconds or as a date (RFC 9110, 10.2.3).
pub(crate) fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A provider's own code as it may be kept: codes are short words, and text is none.
pub(crate) fn code(text: &str) -> String {
    let is_code =
        |character: char| character.is_ascii_alphanumeric() || "_-.:/".contains(character);
    if text.len() <= 64 && text.chars().all(is_code) { text.to_owned() } else { String::new() }
}

/// A message's parts as a provider counts them: a whole number, written as one or as text. 0 is
/// where it has not counted yet.
pub(crate) fn parts(said: &Value) -> Option<u32> {
    let parts = match said {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    (parts > 0).then_some(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2015-10-21T07:27:00Z".parse().expect("an instant")
    }

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().expect("a header"));
        wait(&headers, now())
    }

    #[test]
    fn waits_come_as_seconds_or_as_a_date_and_have_an_end() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("999999999"), Some(LONGEST_WAIT));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn only_what_was_surely_not_processed_is_tried_again() {
        let verdict = |status: u16| {
            by_status(StatusCode::from_u16(status).expect("a status"), &HeaderMap::new(), now())
        };
        for status in [301, 307, 308, 401, 403, 404, 405, 415, 425, 429] {
            assert!(matches!(verdict(status), Outcome::Transient { .. }), "{status}");
        }
        for status in [302, 303, 408, 500, 501, 502, 503, 504, 520] {
            assert!(matches!(verdict(status), Outcome::InDoubt { .. }), "{status}");
        }
        for status in [400, 402, 409, 410, 413, 422] {
            assert!(matches!(verdict(status), Outcome::Permanent { .. }), "{status}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().expect("a header"));
        let verdict = by_status(StatusCode::SERVICE_UNAVAILABLE, &headers, now());
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(verdict, Outcome::Transient { code: "http_503".into(), retry_after });
    }

    #[test]
    fn parts_are_counted_by_whole_numbers_above_0() {
        for (said, counted) in [
            (json!(2), Some(2)),
            (json!("2"), Some(2)),
            (json!("10"), Some(10)),
            (json!(0), None),
            (json!("0"), None),
            (json!(-1), None),
            (json!("-1"), None),
            (json!(1.5), None),
            (json!("0.0075"), None),
            (json!(""), None),
            (json!("two"), None),
            (json!(null), None),
            (json!(true), None),
            (json!([2]), None),
            (json!(4_294_967_296_u64), None),
        ] {
            assert_eq!(parts(&said), counted, "{said}");
        }
    }

    #[test]
    fn codes_are_kept_and_text_is_not() {
        assert_eq!(code("21610"), "21610");
        assert_eq!(code("ERR_NO-ROUTE.7"), "ERR_NO-ROUTE.7");
        assert_eq!(code("The number +15555550100 is not known"), "");
        assert_eq!(code("+15555550100"), "");
        assert_eq!(code(&"x".repeat(65)), "");
    }
}
