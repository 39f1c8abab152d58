//! A gateway described by its settings, checked and compiled.

use carillon_contracts::campaign::v1::HttpGateway;
use http::{
    HeaderName, HeaderValue, Method, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use crate::{
    escape::Place,
    origin::Origin,
    pattern::{Field, Fields, Pattern},
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const DEFAULT_BODY: &str =
    r#"{"to":"{to}","from":"{from}","text":"{text}","message_id":"{message_id}"}"#;

/// How a message is written and its answer read.
pub struct Shape {
    pub origin: Origin,
    pub method: Method,
    pub target: Pattern,
    pub headers: Vec<(HeaderName, Pattern)>,
    /// None for a GET.
    pub body: Option<(HeaderValue, Pattern)>,
    pub idempotency: Option<HeaderName>,
    pub reading: Reading,
}

/// Where a JSON answer says what, by JSON pointers (RFC 6901).
pub struct Reading {
    pub id: Option<String>,
    pub outcome: Option<Words>,
    /// How many parts the provider counts.
    pub units: Option<String>,
}

/// What the word at the pointer means; any other word leaves it in doubt.
pub struct Words {
    pub pointer: String,
    pub accepted: Vec<String>,
    pub transient: Vec<String>,
    pub permanent: Vec<String>,
}

/// A setting that cannot be: its name below `sms.http`, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub field: String,
    pub rule: String,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http.{}: {}", self.field, self.rule)
    }
}

fn wrong(field: impl Into<String>, rule: impl Into<String>) -> Wrong {
    Wrong { field: field.into(), rule: rule.into() }
}

impl Shape {
    pub fn compile(settings: &HttpGateway) -> Result<Self, Wrong> {
        let method = method(&settings.method)?;
        let (origin, target) = Origin::parse(&settings.url).map_err(|why| wrong("url", why))?;
        let target = Pattern::parse(&target, Place::Component).map_err(|why| wrong("url", why))?;
        if target.render(&Sample).parse::<Uri>().is_err() {
            return Err(wrong("url", "it holds characters that must be written as %XX"));
        }
        let body = match method {
            Method::GET if settings.body.is_empty() => None,
            Method::GET => return Err(wrong("body", "a GET has none; set http.method to POST")),
            _ => Some(body(&settings.content_type, &settings.body)?),
        };
        let headers = settings.headers.iter().map(|(name, value)| header(name, value));
        let headers = headers.collect::<Result<_, _>>()?;
        let idempotency = match settings.idempotency_header.as_str() {
            "" => None,
            name => Some(header_name(name).map_err(|why| wrong("idempotency_header", why))?),
        };
        let reading = Reading::compile(settings)?;
        Ok(Self { origin, method, target, headers, body, idempotency, reading })
    }
}

impl Reading {
    pub fn compile(settings: &HttpGateway) -> Result<Self, Wrong> {
        let outcome = pointer("outcome_pointer", &settings.outcome_pointer)?;
        let outcome = outcome.map(|pointer| Words {
            pointer,
            accepted: settings.accepted_words.clone(),
            transient: settings.transient_words.clone(),
            permanent: settings.permanent_words.clone(),
        });
        if outcome.as_ref().is_some_and(|words| words.accepted.is_empty()) {
            let rule = "at least one is needed with outcome_pointer";
            return Err(wrong("accepted_words", rule));
        }
        let id = pointer("id_pointer", &settings.id_pointer)?;
        let units = pointer("units_pointer", &settings.units_pointer)?;
        Ok(Self { id, outcome, units })
    }
}

fn pointer(field: &str, pointer: &str) -> Result<Option<String>, Wrong> {
    match pointer {
        "" => Ok(None),
        given if given.starts_with('/') => Ok(Some(given.to_owned())),
        other => Err(wrong(field, format!("'{other}' does not begin with / (RFC 6901)"))),
    }
}

fn method(name: &str) -> Result<Method, Wrong> {
    match name {
        "" | "POST" => Ok(Method::POST),
        "GET" => Ok(Method::GET),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        other => Err(wrong("method", format!("'{other}' is not one of GET, POST, PUT, PATCH"))),
    }
}

fn body(content_type: &str, body: &str) -> Result<(HeaderValue, Pattern), Wrong> {
    let content_type = if content_type.is_empty() { JSON } else { content_type };
    let value = HeaderValue::from_str(content_type)
        .map_err(|_| wrong("content_type", "a header holds one line"))?;
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let place = match media.as_str() {
        FORM => Place::Component,
        "text/plain" => Place::Plain,
        json if json.ends_with("/json") || json.ends_with("+json") => Place::Json,
        xml if xml.ends_with("/xml") || xml.ends_with("+xml") => Place::Xml,
        other => {
            let rule =
                format!("'{other}' is not known; use {JSON}, {FORM}, text/xml or text/plain");
            return Err(wrong("content_type", rule));
        }
    };
    let source = match body {
        "" if place == Place::Json => DEFAULT_BODY,
        "" => return Err(wrong("body", format!("it must be given for {media}"))),
        given => given,
    };
    let pattern = Pattern::parse(source, place).map_err(|why| wrong("body", why))?;
    if place == Place::Json {
        let sample: Result<serde_json::Value, _> = serde_json::from_str(&pattern.render(&Sample));
        sample.map_err(|error| {
            let rule = "it is no JSON once filled in";
            wrong("body", format!("{rule} ({error}); fields stand inside quotes"))
        })?;
    }
    Ok((value, pattern))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, Pattern), Wrong> {
    let refused = |why: String| wrong(format!("headers[{name}]"), why);
    let parsed = header_name(name).map_err(refused)?;
    let value = Pattern::parse(value, Place::Header).map_err(refused)?;
    if HeaderValue::from_bytes(value.render(&Sample).as_bytes()).is_err() {
        return Err(refused("a header holds one line".into()));
    }
    Ok((parsed, value))
}

/// Headers that the connection writes itself.
fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "it is not the name of a header".to_owned())?;
    let own = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER, EXPECT];
    match name {
        CONTENT_TYPE => Err("set http.content_type instead".into()),
        _ if own.contains(&name) || name.as_str().starts_with("proxy-") => {
            Err("the connection writes it itself; leave it out".into())
        }
        _ => Ok(name),
    }
}

/// Values of the right kind, to try a pattern with.
struct Sample;

impl Fields for Sample {
    fn field(&self, field: Field) -> &str {
        match field {
            Field::ValiditySeconds => "60",
            _ => "x",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HttpGateway {
        HttpGateway { url: "https://sms.example/send".into(), ..HttpGateway::default() }
    }

    fn refused(change: impl FnOnce(&mut HttpGateway)) -> String {
        let mut settings = settings();
        change(&mut settings);
        Shape::compile(&settings).err().expect("refused").to_string()
    }

    #[test]
    fn a_url_is_all_that_must_be_given() {
        let shape = Shape::compile(&settings()).expect("compiled");
        assert_eq!(shape.method, Method::POST);
        let (content_type, body) = shape.body.expect("a body");
        assert_eq!(content_type, JSON);
        let body: serde_json::Value = serde_json::from_str(&body.render(&Sample)).expect("JSON");
        assert_eq!(body["message_id"], "x");
    }

    #[test]
    fn what_is_wrong_is_named_by_field() {
        let wrong = [
            (refused(|s| s.url = "https://{to}/".into()), "http.url: '{to}' is not a host"),
            (refused(|s| s.url = "https://h/{txt}".into()), "http.url: {txt} is not known"),
            (refused(|s| s.url = "https://h/a b".into()), "http.url: it holds characters"),
            (refused(|s| s.method = "DELETE".into()), "http.method: 'DELETE'"),
            (refused(|s| s.body = r#"{"to":{to}}"#.into()), "http.body: it is no JSON"),
            (refused(|s| s.content_type = "image/png".into()), "http.content_type: 'image/png'"),
            (refused(|s| s.content_type = FORM.into()), "http.body: it must be given"),
            (refused(|s| s.idempotency_header = "a b".into()), "http.idempotency_header: it is"),
            (refused(|s| s.id_pointer = "id".into()), "http.id_pointer: 'id'"),
            (refused(|s| s.units_pointer = "parts".into()), "http.units_pointer: 'parts'"),
            (refused(|s| s.outcome_pointer = "/x".into()), "http.accepted_words: "),
            (
                refused(|s| drop(s.headers.insert("Host".into(), "x".into()))),
                "http.headers[Host]: the connection",
            ),
            (
                refused(|s| drop(s.headers.insert("X-A".into(), "a\r\nb: c".into()))),
                "http.headers[X-A]: a header holds one line",
            ),
        ];
        for (text, begins) in wrong {
            assert!(text.starts_with(begins), "{text}");
        }
    }

    #[test]
    fn a_number_may_stand_outside_quotes() {
        let body = r#"{"to":"{to}","ttl":{validity_seconds}}"#.to_owned();
        assert!(Shape::compile(&HttpGateway { body, ..settings() }).is_ok());
    }
}
