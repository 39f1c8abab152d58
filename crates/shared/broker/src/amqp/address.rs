//! Where the broker is, read from its URI.

use std::str::FromStr as _;

use lapin::{
    tcp::OwnedTLSConfig,
    types::Heartbeat,
    uri::{AMQPScheme, AMQPUri},
};
use url::{Host, Url};

/// Seconds; a connection that is silent for twice as long is given up.
const HEARTBEAT: Heartbeat = 10;

/// Never shows the URI: it holds a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "AMQP_URL: {0}; give amqp://user:password@host:5672/vhost, or amqps:// for TLS, where \
     ?cacertfile=FILE names authorities to trust besides the system's"
)]
pub struct BadAddress(String);

#[derive(Clone)]
pub(super) struct Address {
    pub uri: AMQPUri,
    pub tls: OwnedTLSConfig,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, BadAddress> {
        let url = Url::parse(text).map_err(|error| BadAddress(error.to_string()))?;
        if url.host().is_none() {
            return Err(BadAddress("it names no host".into()));
        }
        let mut uri = AMQPUri::from_str(text).map_err(BadAddress)?;
        // The client library would take localhost instead.
        if let Some(Host::Ipv6(address)) = url.host() {
            uri.authority.host = address.to_string();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let authorities = url.query_pairs().find(|(key, _)| key == "cacertfile");
        let mut tls = OwnedTLSConfig::default();
        if let Some((_, file)) = authorities {
            if uri.scheme != AMQPScheme::AMQPS {
                return Err(BadAddress("cacertfile: there is no TLS on amqp://".into()));
            }
            let pem = std::fs::read_to_string(&*file)
                .map_err(|error| BadAddress(format!("cacertfile '{file}': {error}")))?;
            tls.cert_chain = Some(pem);
        }
        Ok(Self { uri, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_set_unless_the_uri_sets_one() {
        let address = Address::parse("amqp://guest:guest@127.0.0.1:5672/%2f").expect("valid");
        assert_eq!(address.uri.query.heartbeat, Some(10));
        assert_eq!((address.uri.vhost.as_str(), address.uri.authority.port), ("/", 5672));
        let address = Address::parse("amqp://localhost/v?heartbeat=3").expect("valid");
        assert_eq!(address.uri.query.heartbeat, Some(3));
    }

    #[test]
    fn an_ipv6_host_is_kept() {
        let address = Address::parse("amqp://[2001:db8::7]/v").expect("valid");
        assert_eq!(address.uri.authority.host, "2001:db8::7");
    }

    #[test]
    fn a_refusal_names_the_remedy_and_never_the_password() {
        for wrong in ["secret", "http://u:secret@h/", "amqp:secret", "amqp://u:secret@h:x/"] {
            let error = Address::parse(wrong).err().expect("refused").to_string();
            assert!(error.contains("amqp://user:password@host"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let missing = "amqps://u:secret@h/v?cacertfile=/nowhere/ca.pem";
        let error = Address::parse(missing).err().expect("refused").to_string();
        assert!(error.contains("/nowhere/ca.pem") && !error.contains("secret"), "{error}");
    }
}
