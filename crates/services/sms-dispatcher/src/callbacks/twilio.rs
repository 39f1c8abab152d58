//! Twilio's status callbacks.

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use carillon_contracts::ids::OrganisationId;
use carillon_dispatch::Says;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{Callbacks, Fields, Named, Refused, evidence, fields, found, genuine};
use crate::receipts::TWILIO;

pub(super) async fn receive(
    State(callbacks): State<Callbacks>,
    Path(named): Path<Named>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let about = genuine(TWILIO, &callbacks.receipts, &named, &query)?;
    let url = callbacks.receipts.twilio_url(about);
    let fields = signed(&callbacks, about.organisation, &url, &headers, &body).await?;
    let field = |name| found(&fields, name);
    let status = field("MessageStatus").or(field("SmsStatus")).ok_or(Refused::NoStatus)?;
    if let Some(says) = said(status) {
        let code = field("ErrorCode").unwrap_or_default();
        callbacks.gatherer.keep(evidence(about, says, code)).await.map_err(|_| Refused::Unkept)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The fields of a form that was posted to `url`, if a Twilio account of the organisation's signed it.
pub(super) async fn signed(
    callbacks: &Callbacks,
    organisation: OrganisationId,
    url: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Fields, Refused> {
    let route = callbacks.routes.of(organisation).await.map_err(|_| Refused::Unkept)?;
    let given = headers.get("x-twilio-signature").and_then(|value| value.to_str().ok());
    let given = given.ok_or(Refused::NotGenuine)?;
    let fields = fields(body);
    if route.twilio_tokens().any(|token| is_signed(given, token, url, &fields)) {
        Ok(fields)
    } else {
        Err(Refused::NotGenuine)
    }
}

/// None for what does not change a message's state.
fn said(status: &str) -> Option<Says> {
    match status {
        "delivered" | "read" => Some(Says::Delivered),
        "undelivered" | "failed" | "canceled" => Some(Says::Undelivered),
        "accepted" | "queued" | "sending" | "sent" => Some(Says::Sent),
        _ => None,
    }
}

/// Base64 of HMAC-SHA1 over the URL and the fields in the order of their names, compared in
/// constant time.
fn is_signed(given: &str, token: &str, url: &str, fields: &[(String, String)]) -> bool {
    let Ok(given) = STANDARD.decode(given) else { return false };
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut mac = <Hmac<Sha1>>::new_from_slice(token.as_bytes()).expect("any length is a key");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.verify_slice(&given).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Twilio's documentation.
    #[test]
    fn signatures_are_twilios() {
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let fields = [
            ("CallSid", "CA1234567890ABCDE"),
            ("From", "+12349013030"),
            ("To", "+18005551212"),
            ("Caller", "+12349013030"),
            ("Digits", "1234"),
        ];
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let signature = "0/KCTR6DLpKmkAf8muzZqo1nDgQ=";
        assert!(is_signed(signature, "12345", url, &fields));
        assert!(!is_signed(signature, "12346", url, &fields));
        assert!(!is_signed(signature, "12345", "https://mycompany.com/", &fields));
        assert!(!is_signed(signature, "12345", url, &fields[..4]));
        assert!(!is_signed("", "12345", url, &fields));
    }
}
