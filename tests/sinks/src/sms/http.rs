//! As much of HTTP/1.1 as a provider's clients speak.

use std::{collections::HashMap, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const LONGEST: usize = 1024 * 1024;

/// A whole request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The fields of a form.
    pub fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok()
    }

    pub fn is_twilio(&self) -> bool {
        self.target.contains("/2010-04-01/Accounts/")
    }

    /// The user and the password of basic authentication.
    pub fn login(&self) -> Option<(String, String)> {
        let given = self.header("authorization")?.strip_prefix("Basic ")?;
        let given = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
        let (user, password) = given.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// Where the client wants to hear what became of it.
    pub fn callback_url(&self) -> Option<String> {
        if self.is_twilio() {
            return self.form().remove("StatusCallback");
        }
        Some(self.json()?.get("callback_url")?.as_str()?.to_owned())
    }

    /// The number that it is for.
    pub fn to(&self) -> Option<String> {
        if self.is_twilio() {
            return self.form().remove("To");
        }
        Some(self.json()?.get("to")?.as_str()?.to_owned())
    }

    /// Of the callback's path for Twilio, which has no field for it; else of the JSON object.
    pub fn message_id(&self) -> Option<String> {
        if self.is_twilio() {
            let url = self.callback_url()?;
            let path = url.split('?').next()?;
            return path.rsplit('/').next().map(str::to_owned);
        }
        Some(self.json()?.get("message_id")?.as_str()?.to_owned())
    }
}

/// Reads one request after another.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// None where the client closed between two requests.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Request>> {
        loop {
            if let Some((request, length)) = parse(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(Some(request));
            }
            if self.buffer.len() > LONGEST {
                return Err(invalid("a request is too long"));
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The request that the bytes begin with, and its length; None where some of it is missing.
fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("headers are not text"))?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(invalid("the first line is not a request"));
    };
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = match headers.get("content-length") {
        Some(length) => length.parse().map_err(|_| invalid("content-length is not a number"))?,
        None => 0,
    };
    let (begin, end) = (end + 4, end + 4 + length);
    let Some(body) = bytes.get(begin..end) else { return Ok(None) };
    let body = String::from_utf8(body.to_vec()).map_err(|_| invalid("the body is not text"))?;
    let request = Request { method: method.into(), target: target.into(), headers, body };
    Ok(Some((request, end)))
}

pub(super) fn answer(status: u16, retry_after: Option<u64>, body: &str) -> Vec<u8> {
    let retry_after =
        retry_after.map(|wait| format!("retry-after: {wait}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{retry_after}content-length: {}\r\n\r\n{body}",
        body.len(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let bytes = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nA: b\r\n\r\nabcGET";
        for length in 0..bytes.len() - 4 {
            assert!(parse(&bytes[..length]).expect("well-formed").is_none(), "{length} bytes");
        }
        let (request, length) = parse(bytes).expect("well-formed").expect("whole");
        assert_eq!((request.body.as_str(), length), ("abc", bytes.len() - 3));
        assert_eq!(request.header("a"), Some("b"));
    }

    #[test]
    fn messages_are_known_by_id_in_both_shapes() {
        let twilio = Request {
            target: "/2010-04-01/Accounts/AC1/Messages.json".into(),
            body: "To=1&StatusCallback=http%3A%2F%2Fh%2Fcallbacks%2Fsms%2Ftwilio%2Fo%2F1%2Fm7%3Ftoken%3Dt"
                .into(),
            ..Request::default()
        };
        assert_eq!(twilio.message_id().as_deref(), Some("m7"));
        let plain = Request { body: r#"{"message_id":"m8"}"#.into(), ..Request::default() };
        assert_eq!(plain.message_id().as_deref(), Some("m8"));
    }
}
