//! The fixed part of a provider's URL.

use http::{HeaderValue, uri::Authority};
use rustls::pki_types::ServerName;

/// A server, as a URL names it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name that the certificate must have; none for plain HTTP.
    pub tls: Option<ServerName<'static>>,
    pub host: String,
    pub port: u16,
    /// The Host header.
    pub header: HeaderValue,
}

impl Origin {
    /// Splits a URL into the server and what follows it, which begins with `/`. What follows may
    /// hold anything; the server may not.
    pub fn parse(url: &str) -> Result<(Self, String), String> {
        let (rest, secure) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Err("it does not begin with https:// or http://".into()),
        };
        if url.contains('#') {
            return Err("a fragment (#…) never reaches a server; leave it out".into());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (server, path) = rest.split_at(end);
        if server.contains('@') {
            return Err("a user before the host is not sent; use a header".into());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let origin = Self::of(server, secure, if secure { 443 } else { 80 })?;
        Ok((origin, format!("{slash}{path}")))
    }

    /// An SMSC's URL: `smpps://` for TLS, or `smpp://`, and a server alone.
    pub fn parse_smsc(url: &str) -> Result<Self, String> {
        let (rest, secure) = match (url.strip_prefix("smpps://"), url.strip_prefix("smpp://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Err("it does not begin with smpp:// or smpps://".into()),
        };
        let server = rest.strip_suffix('/').unwrap_or(rest);
        if server.contains('@') {
            return Err("a login has no place in it; give the system id apart".into());
        }
        if server.contains(['/', '?', '#']) {
            return Err("an SMSC has no path; leave out what follows the host and port".into());
        }
        Self::of(server, secure, if secure { 3550 } else { 2775 })
    }

    fn of(server: &str, secure: bool, port: u16) -> Result<Self, String> {
        let authority: Authority =
            server.parse().map_err(|_| format!("'{server}' is not a host, or a host:port"))?;
        let host = authority.host().to_owned();
        if host.is_empty() || host.contains(['{', '}']) {
            return Err("the host must stand there as it is".into());
        }
        let port = match authority.port() {
            Some(given) => given.as_u16(),
            None if server.ends_with(':') || server[host.len()..].starts_with(':') => {
                return Err(format!("'{server}' has no valid port"));
            }
            None => port,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if secure {
            let name = ServerName::try_from(bare);
            Some(name.map_err(|_| format!("'{host}' is not a name a certificate can have"))?)
        } else {
            None
        };
        let header = HeaderValue::try_from(server)
            .map_err(|_| format!("'{server}' is not a host, or a host:port"))?;
        Ok(Self { tls, host, port, header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_behind_the_server() {
        let cases = [
            ("https://api.example", "api.example", 443, "/"),
            ("http://api.example:8080/v1/sms?to={to}", "api.example", 8080, "/v1/sms?to={to}"),
            ("http://127.0.0.1:9?x=1", "127.0.0.1", 9, "/?x=1"),
            ("https://[::1]:8443/a", "[::1]", 8443, "/a"),
        ];
        for (url, host, port, rest) in cases {
            let (origin, path) = Origin::parse(url).expect(url);
            assert_eq!((origin.host.as_str(), origin.port, path.as_str()), (host, port, rest));
            assert_eq!(origin.tls.is_some(), url.starts_with("https"), "{url}");
        }
    }

    #[test]
    fn an_smsc_has_ports_of_its_own_and_no_path() {
        let cases = [
            ("smpp://smsc.example", "smsc.example", 2775),
            ("smpps://smsc.example/", "smsc.example", 3550),
            ("smpp://[::1]:9000", "[::1]", 9000),
        ];
        for (url, host, port) in cases {
            let origin = Origin::parse_smsc(url).expect(url);
            assert_eq!((origin.host.as_str(), origin.port), (host, port));
            assert_eq!(origin.tls.is_some(), url.starts_with("smpps"), "{url}");
        }
        for url in [
            "smsc.example",
            "http://smsc.example",
            "smpp://",
            "smpp://me@smsc.example",
            "smpp://smsc.example/path",
            "smpp://smsc.example?a=b",
            "smpp://smsc.example:x",
        ] {
            assert!(Origin::parse_smsc(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_server_that_is_none_is_refused() {
        for url in [
            "ftp://api.example",
            "api.example",
            "https://",
            "https://{to}/x",
            "https://{to}.example/x",
            "https://user:pass@api.example/",
            "https://api.example:99999/",
            "https://api.example/#top",
            "https://a b/",
            "",
        ] {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }
}
