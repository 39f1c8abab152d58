//! Where an organisation's SMS provider sends what customers reply: addresses that only Carillon can
//! make, and the fingerprints by which a reply that comes again is known.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::WrappingKey;

/// 128 bits are more than anybody guesses.
const MAC: usize = 16;

/// Makes the addresses of replies below the public one, and knows its own.
#[derive(Clone)]
pub struct ReplyLinks {
    base: String,
    mac: Hmac<Sha256>,
    fingerprints: Hmac<Sha256>,
}

impl ReplyLinks {
    /// `public_url` is the address that providers reach, such as `https://carillon.example`.
    pub fn new(public_url: &str, key: &WrappingKey) -> Self {
        Self {
            base: format!("{}/callbacks/sms", public_url.trim_end_matches('/')),
            mac: key.derive(b"carillon replies"),
            fingerprints: key.derive(b"carillon replies' fingerprints"),
        }
    }

    /// Where a provider of this kind sends the organisation's replies. `kind` says who calls, and so
    /// how a call is proved further.
    pub fn url(&self, kind: &str, organisation: Uuid) -> String {
        let mac = self.over(kind, organisation).finalize().into_bytes();
        let token = URL_SAFE_NO_PAD.encode(&mac[..MAC]);
        format!("{}/{kind}/{organisation}/replies?token={token}", self.base)
    }

    /// Compares in constant time.
    pub fn is_token(&self, kind: &str, organisation: Uuid, token: &str) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let mac = self.over(kind, organisation);
        given.len() == MAC && mac.verify_truncated_left(&given).is_ok()
    }

    /// Equal for equal replies of one organisation, and says nothing of what they hold.
    pub fn fingerprint(&self, organisation: Uuid, parts: &[&str]) -> [u8; 32] {
        let mut mac = self.fingerprints.clone().chain_update(organisation.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn over(&self, kind: &str, organisation: Uuid) -> Hmac<Sha256> {
        self.mac.clone().chain_update(kind).chain_update([0]).chain_update(organisation.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    fn links(key: u8) -> ReplyLinks {
        ReplyLinks::new("https://carillon.example/", &WrappingKey::new([key; 32]))
    }

    fn token(url: &str) -> &str {
        url.split_once("?token=").expect("a token").1
    }

    #[test]
    fn an_address_is_for_one_kind_of_caller_of_one_organisation() {
        let url = links(7).url("twilio", ONE);
        let begins = format!("https://carillon.example/callbacks/sms/twilio/{ONE}/replies?token=");
        assert!(url.starts_with(&begins), "{url}");
        let token = token(&url);
        assert_eq!(token.len(), 22);
        assert!(links(7).is_token("twilio", ONE, token));
        assert!(!links(7).is_token("http", ONE, token));
        assert!(!links(7).is_token("twilio", TWO, token));
        assert!(!links(8).is_token("twilio", ONE, token));
        for wrong in ["", "AA", "é", &token[..20], &format!("{token}AA")] {
            assert!(!links(7).is_token("twilio", ONE, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_tells_every_part_from_the_next() {
        let of = |organisation, parts: &[&str]| links(7).fingerprint(organisation, parts);
        assert_eq!(of(ONE, &["ab", "c"]), of(ONE, &["ab", "c"]));
        assert_ne!(of(ONE, &["ab", "c"]), of(ONE, &["a", "bc"]));
        assert_ne!(of(ONE, &["ab", "c"]), of(TWO, &["ab", "c"]));
        assert_ne!(of(ONE, &["ab", "c"]), links(8).fingerprint(ONE, &["ab", "c"]));
    }
}
