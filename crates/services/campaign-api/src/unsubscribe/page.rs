//! The pages that a customer sees: plain, readable by anything, and with nothing of anybody in
//! them.

use std::{fmt::Display, sync::LazyLock};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use carillon_contracts::jobs::v1::Channel;
use sha2::{Digest as _, Sha256};

use super::FIELD;

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;\
padding:0 1rem;color:#1a1a1a;background:#fff}button{font:inherit;padding:.6rem 1.2rem;border:0;\
border-radius:.3rem;color:#fff;background:#1d4ed8;cursor:pointer}button:focus-visible{outline:3px \
solid #1a1a1a;outline-offset:2px}@media(prefers-color-scheme:dark){body{color:#eee;\
background:#161616}button:focus-visible{outline-color:#eee}}";

/// Nothing is loaded from anywhere, no script runs, and no other page frames this one.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

fn messages(channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => "SMS",
        Channel::Email => "e-mails",
        Channel::Unspecified => "messages",
    }
}

pub(super) fn ask(organisation: &str, channel: Channel) -> Response {
    let (what, who) = (messages(channel), escaped(organisation));
    let (field, value) = FIELD;
    answer(
        StatusCode::OK,
        &format!("No more {what}?"),
        format!(
            "<p>Do you want to stop receiving {what} from <strong>{who}</strong>?</p>\
             <form method=\"post\"><input type=\"hidden\" name=\"{field}\" value=\"{value}\">\
             <button type=\"submit\">Unsubscribe</button></form>"
        ),
    )
}

pub(super) fn done(organisation: &str, channel: Channel) -> Response {
    let (what, who) = (messages(channel), escaped(organisation));
    answer(
        StatusCode::OK,
        "You are unsubscribed",
        format!("<p><strong>{who}</strong> will send you no more {what}.</p>"),
    )
}

/// It will hold, and does not hold everywhere yet.
pub(super) fn stored(organisation: &str, channel: Channel) -> Response {
    let (what, who) = (messages(channel), escaped(organisation));
    answer(
        StatusCode::OK,
        "You are unsubscribed",
        format!(
            "<p>Your wish is stored and will take effect in a moment: then \
             <strong>{who}</strong> will send you no more {what}. Until then one that is just \
             leaving may still reach you. There is nothing more for you to do.</p>"
        ),
    )
}

/// A POST that did not come from the page, nor from a mail program's button.
pub(super) fn nothing_changed(organisation: &str, channel: Channel) -> Response {
    let (what, who) = (messages(channel), escaped(organisation));
    answer(
        StatusCode::BAD_REQUEST,
        "Nothing was changed",
        format!(
            "<p>To stop receiving {what} from <strong>{who}</strong>, open the link of the message \
             again and press <em>Unsubscribe</em>.</p>"
        ),
    )
}

pub(super) fn no_such_link() -> Response {
    answer(
        StatusCode::NOT_FOUND,
        "This link does not work",
        "<p>It may have been cut off. Open it from the message again, or copy all of it.</p>",
    )
}

pub(super) fn try_again() -> Response {
    let mut response = answer(
        StatusCode::SERVICE_UNAVAILABLE,
        "Please try again in a minute",
        "<p>Nothing was changed yet: something on our side is not reachable at the moment.</p>",
    );
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
    response
}

fn answer(status: StatusCode, title: &str, content: impl Display) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{content}</main></body></html>\n"
    );
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, POLICY.as_str())
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::X_FRAME_OPTIONS, "DENY")
        .header(header::CACHE_CONTROL, "no-store")
        .header("x-robots-tag", "noindex, nofollow");
    response.body(Body::from(html)).expect("every header is a constant")
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_never_markup() {
        assert_eq!(escaped("<b>\"A & B's\"</b>"), "&lt;b&gt;&quot;A &amp; B&#39;s&quot;&lt;/b&gt;");
    }

    #[test]
    fn the_policy_allows_the_one_style_and_nothing_else() {
        assert!(POLICY.starts_with("default-src 'none'; style-src 'sha256-"), "{}", *POLICY);
        assert!(!POLICY.contains("unsafe"));
    }
}
