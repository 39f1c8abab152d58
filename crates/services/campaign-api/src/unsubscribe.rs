//! The unsubscribe link of a message (RFC 8058). Looking at it changes nothing, for mail filters
//! follow links; a POST unsubscribes at once, whether a mail program sends it or the page's button.

mod page;

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, header},
    response::Response,
    routing::get,
};
use carillon_contracts::{
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use tonic::{Code, Status};

use crate::{CampaignApi, store};

const BODY: usize = 4 * 1024;
const OPT_OUT_WITHIN: Duration = Duration::from_secs(10);
/// The field of RFC 8058 and its one value.
const FIELD: (&str, &str) = ("List-Unsubscribe", "One-Click");

/// Whom a link was made for, and what its page says of it.
struct Reader {
    organisation: OrganisationId,
    customer: CustomerId,
    channel: Channel,
    name: String,
}

pub(crate) fn routes(api: CampaignApi) -> Router {
    Router::new()
        .route("/u/{token}", get(show).post(unsubscribe))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(api)
}

async fn show(State(api): State<CampaignApi>, Path(token): Path<String>) -> Response {
    match api.reader(&token).await {
        Ok(Some(reader)) => page::ask(&reader.name, reader.channel),
        Ok(None) => page::no_such_link(),
        Err(error) => {
            tracing::error!(%error, "an unsubscribe page was not shown");
            page::try_again()
        }
    }
}

async fn unsubscribe(
    State(api): State<CampaignApi>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let reader = match api.reader(&token).await {
        Ok(Some(reader)) => reader,
        Ok(None) => return page::no_such_link(),
        Err(error) => {
            tracing::error!(%error, "an opt-out was not carried out");
            return page::try_again();
        }
    };
    if !is_one_click(&headers, &body) {
        return page::nothing_changed(&reader.name, reader.channel);
    }
    let Reader { organisation, customer, channel, name } = reader;
    let call = api.audience.opt_out(organisation, customer, channel);
    let answer = tokio::time::timeout(OPT_OUT_WITHIN, call).await;
    match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in 10 s"))) {
        Ok(true) => page::done(&name, channel),
        Ok(false) => page::stored(&name, channel),
        Err(status) if status.code() == Code::NotFound => page::no_such_link(),
        Err(status) => {
            tracing::warn!(code = ?status.code(), message = status.message(), "an opt-out was not carried out");
            page::try_again()
        }
    }
}

impl CampaignApi {
    /// `None` for whatever is no link of ours.
    async fn reader(&self, token: &str) -> Result<Option<Reader>, sea_orm::DbErr> {
        let Some(linked) = self.links.read(token) else { return Ok(None) };
        let channel = match Channel::try_from(i32::from(linked.channel)) {
            Ok(Channel::Unspecified) | Err(_) => return Ok(None),
            Ok(channel) => channel,
        };
        let organisation = OrganisationId::new(linked.organisation);
        let row = store::organisation(self.database.reader(), organisation).await?;
        Ok(row.map(|row| Reader {
            organisation,
            customer: CustomerId::new(linked.customer),
            channel,
            name: row.organisation.name,
        }))
    }
}

/// Mail programs send the field as a form of either kind.
fn is_one_click(headers: &HeaderMap, body: &[u8]) -> bool {
    let (name, value) = FIELD;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    if !kind.starts_with("multipart/form-data") {
        return url::form_urlencoded::parse(body).any(|(key, given)| key == name && given == value);
    }
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let part = text.split_once(&format!("name=\"{name}\"")).map(|(_, rest)| rest);
    let content = part.and_then(|part| part.split_once("\r\n\r\n"));
    content.is_some_and(|(_, content)| content.split("\r\n").next() == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_click(kind: &str, body: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().expect("a header"));
        is_one_click(&headers, body.as_bytes())
    }

    #[test]
    fn the_field_is_read_from_either_kind_of_form() {
        let form = "application/x-www-form-urlencoded";
        assert!(one_click(form, "List-Unsubscribe=One-Click"));
        assert!(one_click(form, "a=b&List-Unsubscribe=One-Click"));
        assert!(!one_click(form, "List-Unsubscribe=Two-Clicks"));
        assert!(!one_click(form, ""));
        let multipart = "multipart/form-data; boundary=---FormBoundaryjWmhtjORrn";
        let body = "-----FormBoundaryjWmhtjORrn\r\n\
            Content-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
            One-Click\r\n-----FormBoundaryjWmhtjORrn--\r\n";
        assert!(one_click(multipart, body));
        assert!(!one_click(multipart, &body.replace("One-Click", "No")));
        assert!(!one_click(multipart, "List-Unsubscribe=One-Click"));
    }
}
