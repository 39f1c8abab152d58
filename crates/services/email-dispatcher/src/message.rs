//! An e-mail as RFC 5322 text with MIME parts, written straight from the batch's templates.

mod body;
pub(crate) mod header;
#[cfg(test)]
mod tests;

use carillon_content::{Escape, Template, Values, Variable};
use carillon_contracts::{
    ids::MessageId,
    jobs::v1::{Content, EmailContent},
};
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

/// The texts of a batch, compiled once.
pub(crate) struct Texts {
    subject: Template,
    text: Option<Template>,
    html: Option<Template>,
    /// It was started with a test key.
    pub is_test: bool,
}

impl Texts {
    pub(crate) fn of(content: &Content) -> Result<Self, String> {
        let EmailContent { subject, text, html } =
            content.email.as_ref().ok_or("the batch has no e-mail content")?;
        let compile = |text: &str| Template::parse(text).map_err(|error| error.to_string());
        let optional = |text: &String| match text.as_str() {
            "" => Ok(None),
            text => compile(text).map(Some),
        };
        Ok(Self {
            subject: compile(subject)?,
            text: optional(text)?,
            html: optional(html)?,
            is_test: content.test,
        })
    }
}

/// Who sends: the headers that every message of an organisation shares, written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    /// For MAIL FROM.
    pub address: String,
    domain: String,
    headers: Vec<u8>,
}

impl Sender {
    /// `None` where an address is none.
    pub(crate) fn new(name: &str, from: &str, reply_to: &str) -> Option<Self> {
        let address = header::address(from)?;
        let domain = address.rsplit_once('@')?.1.to_owned();
        let mut headers = Vec::new();
        header::mailbox(&mut headers, "From", name, &address);
        if !reply_to.is_empty() {
            header::mailbox(&mut headers, "Reply-To", "", &header::address(reply_to)?);
        }
        Some(Self { address, domain, headers })
    }
}

/// One message to one recipient.
pub(crate) struct Letter<'a> {
    pub message: MessageId,
    pub run_day: i32,
    pub date: Timestamp,
    /// As [`header::address`] gives it.
    pub to: &'a str,
    /// Where a POST unsubscribes the recipient.
    pub unsubscribe: &'a str,
}

/// The recipient's values, and the link that only the sender can make.
struct WithLink<'a, V> {
    values: &'a V,
    unsubscribe: &'a str,
}

impl<V: Values> Values for WithLink<'_, V> {
    fn value(&self, variable: &Variable) -> Option<&str> {
        match variable {
            Variable::UnsubscribeUrl => Some(self.unsubscribe),
            other => self.values.value(other),
        }
    }
}

/// What goes over the wire, and what the sandbox shows.
pub(crate) struct Written {
    pub subject: String,
    pub source: Vec<u8>,
}

impl Letter<'_> {
    /// The whole source. Its Message-ID is the same however often it is made.
    pub(crate) fn write<V: Values>(&self, texts: &Texts, sender: &Sender, values: &V) -> Written {
        let values = WithLink { values, unsubscribe: self.unsubscribe };
        let subject = texts.subject.render(&values, Escape::None).replace(char::is_control, " ");
        let text = texts.text.as_ref().map(|text| text.render(&values, Escape::None));
        let html = texts.html.as_ref().map(|html| html.render(&values, Escape::Html));
        let length = |body: &Option<String>| body.as_ref().map_or(0, String::len);
        let mut out = Vec::with_capacity(1024 + (length(&text) + length(&html)) * 5 / 4);
        self.head(&mut out, sender, &subject);
        match (text, html) {
            (Some(text), Some(html)) => self.alternative(&mut out, &text, &html),
            (None, Some(html)) => body::part(&mut out, "html", &html),
            (text, None) => body::part(&mut out, "plain", &text.unwrap_or_default()),
        }
        Written { subject, source: out }
    }

    fn head(&self, out: &mut Vec<u8>, sender: &Sender, subject: &str) {
        let date = rfc2822::to_string(&self.date.to_zoned(TimeZone::UTC));
        // A year before 1 or after 9999 is none of a clock's.
        header::unstructured(out, "Date", &date.unwrap_or_default());
        out.extend_from_slice(&sender.headers);
        header::mailbox(out, "To", "", self.to);
        header::unstructured(out, "Subject", subject);
        let lines = format!(
            "Message-ID: <{}.{}@{}>\r\nList-Unsubscribe: <{}>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n",
            self.run_day, self.message, sender.domain, self.unsubscribe
        );
        out.extend_from_slice(lines.as_bytes());
    }

    /// The boundary has the message's id in it, which no text can know before it is planned.
    fn alternative(&self, out: &mut Vec<u8>, text: &str, html: &str) {
        let boundary = format!("=_{}", self.message);
        let kind = format!("Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n");
        out.extend_from_slice(kind.as_bytes());
        for (subtype, body) in [("plain", text), ("html", html)] {
            out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
            body::part(out, subtype, body);
        }
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    }
}
