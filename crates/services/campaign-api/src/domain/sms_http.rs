//! What a generic HTTP gateway may be described as.

use std::collections::BTreeSet;

use carillon_contracts::campaign::v1::HttpGateway;
use carillon_http_gateway::{Field, Shape};
use carillon_service_kit::status::FieldError;
use http::{HeaderName, HeaderValue};
use url::Url;

use super::{nearest::nearest, shown, sms::has_login};

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "PATCH"];
/// Headers that the connection itself sets.
const RESERVED: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
const MOST_HEADERS: usize = 32;
const MOST_WORDS: usize = 100;
const LONGEST_URL: usize = 2_000;
const LONGEST_BODY: usize = 10_000;
const LONGEST_WORD: usize = 100;

struct Check<'a>(&'a mut Vec<FieldError>);

impl Check<'_> {
    fn refuse(&mut self, field: &str, rule: impl Into<String>) {
        self.0.push(FieldError::new(format!("sms.http.{field}"), rule));
    }
}

/// The gateway as it is stored; wrong fields are told in `errors`.
pub(super) fn checked(given: HttpGateway, errors: &mut Vec<FieldError>) -> HttpGateway {
    let mut check = Check(errors);
    let method = match given.method.as_str() {
        "" => "POST".to_owned(),
        method => method.to_ascii_uppercase(),
    };
    if !METHODS.contains(&method.as_str()) {
        let rule = format!("'{}' is not one of {}", shown(&method), METHODS.join(", "));
        check.refuse("method", rule);
    }
    check.url(&given.url);
    check.headers(&given);
    check.body(&given, &method);
    check.pointer("id_pointer", &given.id_pointer);
    check.pointer("outcome_pointer", &given.outcome_pointer);
    check.pointer("units_pointer", &given.units_pointer);
    check.words(&given);
    let content_type = match given.content_type.as_str() {
        "" => "application/json".to_owned(),
        said => said.to_owned(),
    };
    let stored = HttpGateway { method, content_type, ..given };
    // The rest is what the dispatcher itself asks for; it stops at the first.
    if errors.is_empty()
        && let Err(wrong) = Shape::compile(&stored)
    {
        errors.push(FieldError::new(format!("sms.http.{}", wrong.field), wrong.rule));
    }
    stored
}

pub(super) fn uses_token(http: &HttpGateway) -> bool {
    texts(http).any(|text| text.contains("{token}"))
}

fn texts(http: &HttpGateway) -> impl Iterator<Item = &str> {
    let headers = http.headers.values().map(String::as_str);
    [http.url.as_str(), http.body.as_str()].into_iter().chain(headers)
}

/// The words in braces, `{like_this}`; every other brace is itself.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let (word, _) = text[at + 1..].split_once('}')?;
        let plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        (!word.is_empty() && word.bytes().all(plain)).then_some(word)
    })
}

impl Check<'_> {
    fn text(&mut self, field: &str, text: &str) {
        let unknown: BTreeSet<&str> =
            placeholders(text).filter(|word| Field::names().all(|known| known != *word)).collect();
        for word in unknown {
            let remedy = match nearest(word, Field::names()) {
                Some(meant) => format!("did you mean {{{meant}}}?"),
                None => format!("known are {}", Field::names().collect::<Vec<_>>().join(", ")),
            };
            self.refuse(field, format!("{{{}}} stands for nothing; {remedy}", shown(word)));
        }
    }

    fn url(&mut self, text: &str) {
        let example = "give one such as https://sms.provider.example/send";
        if text.is_empty() {
            return self.refuse("url", format!("is missing; {example}"));
        }
        if text.len() > LONGEST_URL {
            return self.refuse("url", format!("is longer than {LONGEST_URL} characters"));
        }
        self.text("url", text);
        let filled = Field::names()
            .fold(text.to_owned(), |text, word| text.replace(&format!("{{{word}}}"), "0"));
        let Ok(url) = Url::parse(&filled) else {
            return self.refuse("url", format!("'{}' is not a URL; {example}", shown(text)));
        };
        let authority = text.split("://").nth(1).unwrap_or_default();
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            let rule = format!("'{}' is not an http or https URL; {example}", shown(text));
            self.refuse("url", rule);
        } else if has_login(&url) || url.fragment().is_some() {
            let rule = format!("holds a login or a fragment, which has no place here; {example}");
            self.refuse("url", rule);
        } else if authority.contains('{') {
            self.refuse("url", "has a placeholder in its host; name the host itself");
        }
    }

    fn headers(&mut self, given: &HttpGateway) {
        if given.headers.len() > MOST_HEADERS {
            let rule = format!("are {}; {MOST_HEADERS} at most", given.headers.len());
            self.refuse("headers", rule);
        }
        for (name, value) in &given.headers {
            let field = format!("headers[{}]", shown(name));
            self.header_name(&field, name);
            if name.eq_ignore_ascii_case("content-type") {
                self.refuse(&field, "is set by sms.http.content_type; leave it out here");
            }
            if HeaderValue::from_str(value).is_err() || !value.is_ascii() {
                let rule = "has a value with a line break, a control character or no ASCII";
                self.refuse(&field, format!("{rule}; write it in visible ASCII"));
            }
            self.text(&field, value);
        }
        let name = &given.idempotency_header;
        if !name.is_empty() {
            self.header_name("idempotency_header", name);
            if given.headers.keys().any(|other| other.eq_ignore_ascii_case(name)) {
                let rule = format!("'{}' stands in headers too; name it once", shown(name));
                self.refuse("idempotency_header", rule);
            }
        }
    }

    fn header_name(&mut self, field: &str, name: &str) {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let rule = format!("'{}' is no header's name, such as X-Api-Key", shown(name));
            self.refuse(field, rule);
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            self.refuse(field, format!("'{name}' is set by the connection; leave it out"));
        }
    }

    fn body(&mut self, given: &HttpGateway, method: &str) {
        let length = given.body.chars().count();
        if length > LONGEST_BODY {
            self.refuse("body", format!("has {length} characters; {LONGEST_BODY} at most"));
        }
        self.text("body", &given.body);
        let get = method == "GET";
        if get && !given.body.is_empty() {
            self.refuse("body", "is not sent by GET; leave it out, or give method: POST");
        }
        // Without a body of its own the default one holds both.
        if get || !given.body.is_empty() {
            for word in ["to", "text"] {
                let placeholder = format!("{{{word}}}");
                if !texts(given).any(|text| text.contains(&placeholder)) {
                    let field = if get { "url" } else { "body" };
                    let rule = format!("does not say {placeholder}, and nothing else does");
                    self.refuse(field, format!("{rule}; every message would be the same"));
                }
            }
        }
    }

    fn pointer(&mut self, field: &str, pointer: &str) {
        let escapes_are_right = pointer
            .split('~')
            .skip(1)
            .all(|after| after.starts_with('0') || after.starts_with('1'));
        let is_rooted = pointer.is_empty() || pointer.starts_with('/');
        if !is_rooted || !escapes_are_right {
            let rule = format!("'{}' is no JSON pointer, such as /messages/0/id", shown(pointer));
            self.refuse(field, rule);
        }
    }

    fn words(&mut self, given: &HttpGateway) {
        let lists = [
            ("accepted_words", &given.accepted_words),
            ("transient_words", &given.transient_words),
            ("permanent_words", &given.permanent_words),
        ];
        let mut known = BTreeSet::new();
        for (field, words) in lists {
            if given.outcome_pointer.is_empty() && !words.is_empty() {
                self.refuse(field, "are read at sms.http.outcome_pointer, which is missing");
            }
            if words.len() > MOST_WORDS {
                self.refuse(field, format!("are {}; {MOST_WORDS} at most", words.len()));
            }
            for word in words {
                if word.is_empty() || word.chars().count() > LONGEST_WORD {
                    self.refuse(
                        field,
                        format!("have one that is not 1 to {LONGEST_WORD} characters"),
                    );
                } else if !known.insert(word) {
                    let rule = format!("have '{}', which stands in a list already", shown(word));
                    self.refuse(field, rule);
                }
            }
        }
        if !given.outcome_pointer.is_empty() && given.accepted_words.is_empty() {
            let rule = "are missing; say which words at sms.http.outcome_pointer mean accepted";
            self.refuse("accepted_words", rule);
        }
    }
}

#[cfg(test)]
mod tests;
