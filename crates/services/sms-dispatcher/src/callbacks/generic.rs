//! Receipts of gateways that are described by settings: whatever they send that has a `status`.

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use carillon_dispatch::Says;
use serde_json::Value;

use super::{Callbacks, Fields, Named, Refused, evidence, fields, found, genuine};
use crate::receipts::HTTP;

pub(super) async fn receive(
    State(callbacks): State<Callbacks>,
    Path(named): Path<Named>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let about = genuine(HTTP, &callbacks.receipts, &named, &query)?;
    let body = body_fields(&body);
    let field = |name| found(&body, name).or(found(&query, name));
    let status = field("status").ok_or(Refused::NoStatus)?;
    if let Some(says) = said(status) {
        let code = field("code").unwrap_or_default();
        callbacks.gatherer.keep(evidence(about, says, code)).await.map_err(|_| Refused::Unkept)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Of a JSON object or a form, whatever the content type calls it.
pub(super) fn body_fields(body: &[u8]) -> Fields {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return fields(body) };
    let word = |value| match value {
        Value::String(word) => Some(word),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    object.into_iter().filter_map(|(name, value)| Some((name, word(value)?))).collect()
}

/// None for what does not change a message's state.
fn said(status: &str) -> Option<Says> {
    match status.to_ascii_lowercase().as_str() {
        "delivered" | "delivrd" => Some(Says::Delivered),
        "undelivered" | "undeliv" | "undeliverable" | "failed" | "expired" | "rejected"
        | "rejectd" => Some(Says::Undelivered),
        "sent" | "accepted" | "acceptd" | "queued" | "enroute" => Some(Says::Sent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_in_forms_and_in_json() {
        for body in ["status=DELIVRD&code=0", r#"{"status":"delivered","code":0}"#] {
            let fields = body_fields(body.as_bytes());
            assert_eq!(found(&fields, "status").and_then(said), Some(Says::Delivered), "{body}");
            assert_eq!(found(&fields, "code"), Some("0"), "{body}");
        }
        for body in ["", "[]", r#"{"status":{}}"#] {
            assert_eq!(found(&body_fields(body.as_bytes()), "status"), None, "{body}");
        }
    }

    #[test]
    fn words_say_what_became_of_it() {
        assert_eq!(said("undelivered"), Some(Says::Undelivered));
        assert_eq!(said("failed"), Some(Says::Undelivered));
        assert_eq!(said("Sent"), Some(Says::Sent));
        assert_eq!(said("buffered"), None);
    }
}
