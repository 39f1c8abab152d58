//! A gateway described by its settings, checked and compiled.

use carillon_contracts::campaign::v1::HttpGateway;
use http::{HeaderName, HeaderValue, Method, Uri, header};

use super::{
    answer::Reading,
    pattern::{Field, Fields, Pattern},
};
use crate::gateway::{escape::Place, wire::Origin};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const DEFAULT_BODY: &str =
    r#"{"to":"{to}","from":"{from}","text":"{text}","message_id":"{message_id}"}"#;

/// How a message is written and its answer read.
pub(super) struct Shape {
    pub origin: Origin,
    pub method: Method,
    pub target: Pattern,
    pub headers: Vec<(HeaderName, Pattern)>,
    /// None for a GET.
    pub body: Option<(HeaderValue, Pattern)>,
    pub idempotency: Option<HeaderName>,
    pub reading: Reading,
}

impl Shape {
    /// An error names the field and what is wrong with it.
    pub(super) fn compile(settings: &HttpGateway) -> Result<Self, String> {
        let method = method(&settings.method)?;
        let (origin, target) =
            Origin::parse(&settings.url).map_err(|why| format!("http.url: {why}"))?;
        let target =
            Pattern::parse(&target, Place::Component).map_err(|why| format!("http.url: {why}"))?;
        if target.render(&Sample).parse::<Uri>().is_err() {
            return Err("http.url: it holds characters that must be written as %XX".into());
        }
        let body = match method {
            Method::GET if settings.body.is_empty() => None,
            Method::GET => return Err("http.body: a GET has none; set http.method to POST".into()),
            _ => Some(body(&settings.content_type, &settings.body)?),
        };
        let mut headers = Vec::new();
        for (name, value) in &settings.headers {
            let field = || format!("http.headers.{name}");
            let name = header_name(name).map_err(|why| format!("{}: {why}", field()))?;
            let value = Pattern::parse(value, Place::Header);
            let value = value.map_err(|why| format!("{}: {why}", field()))?;
            if HeaderValue::from_bytes(value.render(&Sample).as_bytes()).is_err() {
                return Err(format!("{}: a header holds one line", field()));
            }
            headers.push((name, value));
        }
        let idempotency = match settings.idempotency_header.as_str() {
            "" => None,
            name => {
                let checked = header_name(name);
                Some(checked.map_err(|why| format!("http.idempotency_header: {why}"))?)
            }
        };
        let reading = Reading::compile(settings)?;
        Ok(Self { origin, method, target, headers, body, idempotency, reading })
    }
}

fn method(name: &str) -> Result<Method, String> {
    match name {
        "" | "POST" => Ok(Method::POST),
        "GET" => Ok(Method::GET),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        other => Err(format!("http.method: '{other}' is not one of GET, POST, PUT, PATCH")),
    }
}

fn body(content_type: &str, body: &str) -> Result<(HeaderValue, Pattern), String> {
    let content_type = if content_type.is_empty() { JSON } else { content_type };
    let value = HeaderValue::from_str(content_type)
        .map_err(|_| "http.content_type: a header holds one line".to_owned())?;
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let place = match media.as_str() {
        FORM => Place::Component,
        "text/plain" => Place::Plain,
        json if json.ends_with("/json") || json.ends_with("+json") => Place::Json,
        xml if xml.ends_with("/xml") || xml.ends_with("+xml") => Place::Xml,
        other => {
            return Err(format!(
                "http.content_type: '{other}' is not known; use {JSON}, {FORM}, text/xml or text/plain"
            ));
        }
    };
    let source = match body {
        "" if place == Place::Json => DEFAULT_BODY,
        "" => return Err(format!("http.body: it must be given for {media}")),
        given => given,
    };
    let pattern = Pattern::parse(source, place).map_err(|why| format!("http.body: {why}"))?;
    if place == Place::Json {
        let sample: Result<serde_json::Value, _> = serde_json::from_str(&pattern.render(&Sample));
        sample.map_err(|error| {
            format!("http.body: it is no JSON once filled in ({error}); fields stand inside quotes")
        })?;
    }
    Ok((value, pattern))
}

/// Headers that the connection writes itself.
fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "it is not the name of a header".to_owned())?;
    let own = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
    ];
    match name {
        header::CONTENT_TYPE => Err("set http.content_type instead".into()),
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
        Shape::compile(&settings).err().expect("refused")
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
            (refused(|s| s.outcome_pointer = "/x".into()), "http.accepted_words: "),
            (
                refused(|s| drop(s.headers.insert("Host".into(), "x".into()))),
                "http.headers.Host: the connection",
            ),
            (
                refused(|s| drop(s.headers.insert("X-A".into(), "a\r\nb: c".into()))),
                "http.headers.X-A: a header holds one line",
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
