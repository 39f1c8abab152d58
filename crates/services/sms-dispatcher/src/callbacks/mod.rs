//! What providers call back with: receipts and replies. A callback is answered once what it says is
//! on disk.

mod gather;
mod generic;
mod replies;
mod twilio;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_dispatch::{Evidence, Says};

use crate::{
    gateway::Routes,
    receipts::{About, HTTP, PATH, Receipts, TWILIO},
    replies::Replies,
};
pub(crate) use gather::{Gatherer, gather};

/// No receipt is longer, and no reply.
const BODY_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub(crate) struct Callbacks {
    pub receipts: Receipts,
    pub routes: Arc<Routes>,
    pub gatherer: Gatherer,
    pub replies: Replies,
}

pub(crate) fn router(callbacks: Callbacks) -> Router {
    let about = "{organisation}/{run_day}/{message}";
    let replies = "{organisation}/replies";
    let described = get(replies::from_described).post(replies::from_described);
    Router::new()
        .route(&format!("{PATH}/{TWILIO}/{about}"), post(twilio::receive))
        .route(&format!("{PATH}/{HTTP}/{about}"), get(generic::receive).post(generic::receive))
        .route(&format!("{PATH}/{TWILIO}/{replies}"), post(replies::from_twilio))
        .route(&format!("{PATH}/{HTTP}/{replies}"), described)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(callbacks)
}

/// Why a callback is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Not a path that was ever given out.
    NotFound,
    /// Not signed by whom it must be.
    NotGenuine,
    /// It does not say what became of the message.
    NoStatus,
    /// A reply without this field.
    Missing(&'static str),
    /// It could not be kept; the provider may come again.
    Unkept,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "nothing has this callback\n"),
            Self::NotGenuine => {
                (StatusCode::FORBIDDEN, "the signature or token is not that of this callback\n")
            }
            Self::Missing(field) => {
                let rule =
                    format!("{field}: missing; give it in the query, a form, or a JSON object\n");
                return (StatusCode::BAD_REQUEST, rule).into_response();
            }
            Self::NoStatus => (
                StatusCode::BAD_REQUEST,
                "status: missing; give delivered, undelivered, failed or sent in the query, a \
                 form, or a JSON object\n",
            ),
            Self::Unkept => (StatusCode::SERVICE_UNAVAILABLE, "not stored; come again\n"),
        }
        .into_response()
    }
}

/// The parts of a callback's path, as they stand there.
type Named = (String, String, String);

fn about((organisation, run_day, message): &Named) -> Result<About, Refused> {
    Ok(About {
        organisation: organisation.parse::<OrganisationId>().map_err(|_| Refused::NotFound)?,
        run_day: run_day.parse().map_err(|_| Refused::NotFound)?,
        message: message.parse::<MessageId>().map_err(|_| Refused::NotFound)?,
    })
}

/// What a callback is about, if the URL is one of ours: known before anything is asked of anybody.
fn genuine(
    kind: &str,
    receipts: &Receipts,
    named: &Named,
    query: &[(String, String)],
) -> Result<About, Refused> {
    let about = about(named)?;
    let token = found(query, "token").ok_or(Refused::NotGenuine)?;
    if receipts.is_genuine(kind, about, token) { Ok(about) } else { Err(Refused::NotGenuine) }
}

type Fields = Vec<(String, String)>;

fn fields(form: &[u8]) -> Fields {
    url::form_urlencoded::parse(form).into_owned().collect()
}

fn found<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn evidence(about: About, says: Says, code: &str) -> Evidence {
    Evidence {
        organisation: about.organisation,
        run_day: about.run_day,
        message: about.message,
        says,
        provider_code: crate::gateway::code(code),
    }
}
