//! What customers reply, as providers pass it on.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
};
use carillon_contracts::ids::OrganisationId;
use tokio::time::timeout;

use super::{Callbacks, Refused, fields, found, generic, twilio};
use crate::receipts::{HTTP, TWILIO};

/// TwiML that answers the customer nothing.
const NOTHING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>\n";
/// Shorter than the 15 s after which Twilio gives up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn from_twilio(
    State(callbacks): State<Callbacks>,
    Path(named): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Refused> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let organisation = genuine(TWILIO, &callbacks, &named, &query)?;
    let url = callbacks.replies.links.url(TWILIO, organisation.uuid());
    let fields = twilio::signed(&callbacks, organisation, &url, &headers, &body).await?;
    let field = |name| found(&fields, name);
    let from = field("From").ok_or(Refused::Missing("From"))?;
    let text = field("Body").ok_or(Refused::Missing("Body"))?;
    hear(&callbacks, organisation, from, text, field("MessageSid")).await?;
    Ok(([(CONTENT_TYPE, "text/xml")], NOTHING))
}

/// From gateways that are described by settings: whatever has `from` and `text`.
pub(super) async fn from_described(
    State(callbacks): State<Callbacks>,
    Path(named): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let organisation = genuine(HTTP, &callbacks, &named, &query)?;
    let body = generic::body_fields(&body);
    let field = |name| found(&body, name).or(found(&query, name));
    let from = field("from").ok_or(Refused::Missing("from"))?;
    let text = field("text").or(field("body")).ok_or(Refused::Missing("text"))?;
    hear(&callbacks, organisation, from, text, field("id")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose replies come there, if the URL is one of ours.
fn genuine(
    kind: &str,
    callbacks: &Callbacks,
    named: &str,
    query: &[(String, String)],
) -> Result<OrganisationId, Refused> {
    let organisation: OrganisationId = named.parse().map_err(|_| Refused::NotFound)?;
    let token = found(query, "token").ok_or(Refused::NotGenuine)?;
    if callbacks.replies.links.is_token(kind, organisation.uuid(), token) {
        Ok(organisation)
    } else {
        Err(Refused::NotGenuine)
    }
}

async fn hear(
    callbacks: &Callbacks,
    organisation: OrganisationId,
    from: &str,
    text: &str,
    id: Option<&str>,
) -> Result<(), Refused> {
    let heard = callbacks.replies.hear(organisation, from, text, id.unwrap_or_default());
    match timeout(PATIENCE, heard).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%organisation, %error, "a reply could not be stored");
            Err(Refused::Unkept)
        }
        Err(_) => {
            tracing::error!(%organisation, "a reply was not stored in time");
            Err(Refused::Unkept)
        }
    }
}
