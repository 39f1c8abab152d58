//! Links in messages that only Carillon can make, and that say who they were made for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::WrappingKey;

const VERSION: u8 = 1;
const BODY: usize = 1 + 4 + 16 + 16 + 1;
/// 128 bits are more than anybody guesses.
const MAC: usize = 16;

/// Makes unsubscribe links below the public address, and reads them back. All are equally long.
#[derive(Clone)]
pub struct Links {
    base: String,
    key_id: [u8; 4],
    mac: Hmac<Sha256>,
}

/// Whom a link was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    pub organisation: Uuid,
    pub customer: Uuid,
    /// The channel's number on the wire.
    pub channel: u8,
}

impl Links {
    /// `public_url` is the address that customers reach, such as `https://carillon.example`.
    pub fn new(public_url: &str, key: &WrappingKey) -> Self {
        let mac = key.derive(b"carillon links");
        Self { base: public_url.trim_end_matches('/').to_owned(), key_id: key.short_id(), mac }
    }

    /// Shows a page that asks; a POST to it unsubscribes at once (RFC 8058).
    pub fn unsubscribe_url(&self, linked: Linked) -> String {
        format!("{}/u/{}", self.base, self.token(linked))
    }

    pub fn token(&self, linked: Linked) -> String {
        let mut token = Vec::with_capacity(BODY + MAC);
        token.push(VERSION);
        token.extend_from_slice(&self.key_id);
        token.extend_from_slice(linked.organisation.as_bytes());
        token.extend_from_slice(linked.customer.as_bytes());
        token.push(linked.channel);
        let mac = self.mac.clone().chain_update(&token).finalize().into_bytes();
        token.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// `None` for whatever was not made with this key.
    pub fn read(&self, token: &str) -> Option<Linked> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = token.split_at_checked(BODY)?;
        if mac.len() != MAC || body[0] != VERSION || body[1..5] != self.key_id {
            return None;
        }
        self.mac.clone().chain_update(body).verify_truncated_left(mac).ok()?;
        Some(Linked {
            organisation: Uuid::from_slice(&body[5..21]).ok()?,
            customer: Uuid::from_slice(&body[21..37]).ok()?,
            channel: body[37],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: u8) -> Links {
        Links::new("https://carillon.example/", &WrappingKey::new([key; 32]))
    }

    fn linked() -> Linked {
        Linked { organisation: Uuid::from_u128(1), customer: Uuid::from_u128(2), channel: 2 }
    }

    #[test]
    fn a_link_says_whom_it_was_made_for() {
        let url = links(7).unsubscribe_url(linked());
        let token = url.strip_prefix("https://carillon.example/u/").expect("below the address");
        assert_eq!(links(7).read(token), Some(linked()));
    }

    #[test]
    fn nobody_else_can_make_or_change_one() {
        let token = links(7).token(linked());
        assert_eq!(links(8).read(&token), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(links(7).read(&URL_SAFE_NO_PAD.encode(&bytes)), None, "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(links(7).read(&token[..token.len() - 4]), None);
        assert_eq!(links(7).read("é/.."), None);
    }
}
