//! Tokens in the URLs that providers call back, which only Carillon can make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::WrappingKey;

/// 128 bits are more than anybody guesses.
const MAC: usize = 16;

/// Makes and checks the token of one message's callbacks.
#[derive(Clone)]
pub struct CallbackMac(Hmac<Sha256>);

impl CallbackMac {
    pub fn new(key: &WrappingKey) -> Self {
        Self(key.derive(b"carillon callbacks"))
    }

    /// 22 characters that need no escaping in a URL.
    ///
    /// `kind` says who calls back, and so how a call is proved further.
    pub fn token(&self, kind: &str, organisation: Uuid, run_day: i32, message: Uuid) -> String {
        let mac = self.over(kind, organisation, run_day, message).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(&mac[..MAC])
    }

    /// Compares in constant time.
    pub fn is_token(
        &self,
        kind: &str,
        organisation: Uuid,
        run_day: i32,
        message: Uuid,
        token: &str,
    ) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let mac = self.over(kind, organisation, run_day, message);
        given.len() == MAC && mac.verify_truncated_left(&given).is_ok()
    }

    fn over(&self, kind: &str, organisation: Uuid, run_day: i32, message: Uuid) -> Hmac<Sha256> {
        self.0
            .clone()
            .chain_update(kind)
            .chain_update([0])
            .chain_update(organisation.as_bytes())
            .chain_update(run_day.to_be_bytes())
            .chain_update(message.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macs(key: u8) -> CallbackMac {
        CallbackMac::new(&WrappingKey::new([key; 32]))
    }

    #[test]
    fn a_token_is_for_one_message_of_one_day_of_one_organisation() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = macs(7).token("http", one, 20_000, two);
        assert_eq!(token.len(), 22);
        assert!(macs(7).is_token("http", one, 20_000, two, &token));
        assert!(!macs(7).is_token("http", two, 20_000, two, &token));
        assert!(!macs(7).is_token("http", one, 20_001, two, &token));
        assert!(!macs(7).is_token("http", one, 20_000, one, &token));
        assert!(!macs(8).is_token("http", one, 20_000, two, &token));
    }

    #[test]
    fn what_is_not_a_whole_token_is_none() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = macs(7).token("http", one, 1, two);
        for wrong in ["", "AA", "é", &token[..20], &format!("{token}AA")] {
            assert!(!macs(7).is_token("http", one, 1, two, wrong), "{wrong}");
        }
    }
}
