//! Sealing personal data: AES-256-GCM under data keys that are themselves wrapped by a key from
//! the configuration, and keyed hashes by which sealed values can be looked up.

mod callback;
mod link;
mod reply;

use aes_gcm::{
    Aes256Gcm, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use rand::{TryRng as _, rngs::SysRng};
use sha2::{Digest as _, Sha256};

pub use callback::CallbackMac;
pub use link::{Linked, Links};
pub use reply::ReplyLinks;

const NONCE: usize = 12;
const KEY: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a wrapping key must be 32 bytes, written as 64 hexadecimal digits")]
    KeyShape,
    #[error("sealed by the wrapping key '{0}', which this service does not have")]
    KeyUnknown(String),
    #[error("the sealed value is damaged or was sealed for something else")]
    Damaged,
    #[error("the system gave no randomness")]
    Randomness,
}

/// The wrapping key of the configuration. Its id, which sealed things name, follows from it.
#[derive(Clone)]
pub struct WrappingKey {
    id: String,
    cipher: Aes256Gcm,
    derive: Hmac<Sha256>,
}

impl WrappingKey {
    pub fn new(key: [u8; KEY]) -> Self {
        let digest = Sha256::digest(key);
        let id = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, cipher: cipher(&key), derive: keyed(&key) }
    }

    /// From 64 hexadecimal digits, as a secret file holds them.
    pub fn from_hex(text: &[u8]) -> Result<Self, SealError> {
        let text = text.trim_ascii();
        if text.len() != KEY * 2 {
            return Err(SealError::KeyShape);
        }
        let mut key = [0; KEY];
        for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| SealError::KeyShape)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| SealError::KeyShape)?;
        }
        Ok(Self::new(key))
    }

    /// A new random key as 64 hexadecimal digits.
    pub fn generate_hex() -> Result<String, SealError> {
        Ok(random::<KEY>()?.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key of another use, which says nothing of this one.
    fn derive(&self, label: &[u8]) -> Hmac<Sha256> {
        keyed(&self.derive.clone().chain_update(label).finalize().into_bytes())
    }

    fn short_id(&self) -> [u8; 4] {
        let mut id = [0; 4];
        id.copy_from_slice(&Sha256::digest(self.id.as_bytes())[..4]);
        id
    }

    /// Seals a short secret under a data key of its own. `context` must be given again to open it.
    pub fn seal_secret(&self, secret: &[u8], context: &[u8]) -> Result<Secret, SealError> {
        let (data_key, wrapped_key) = self.new_data_key(context)?;
        let ciphertext = data_key.seal(secret, context)?;
        Ok(Secret { key_id: self.id.clone(), wrapped_key, ciphertext })
    }

    pub fn open_secret(&self, secret: &Secret, context: &[u8]) -> Result<Vec<u8>, SealError> {
        let data_key = self.unwrap(&secret.key_id, &secret.wrapped_key, context)?;
        data_key.open(&secret.ciphertext, context)
    }

    /// A new data key, and the same key wrapped for keeping. `context` must be given again to unwrap.
    pub fn new_data_key(&self, context: &[u8]) -> Result<(DataKey, Vec<u8>), SealError> {
        let key = random::<KEY>()?;
        Ok((DataKey::new(&key), seal(&self.cipher, &key, context)?))
    }

    pub fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<DataKey, SealError> {
        if key_id != self.id {
            return Err(SealError::KeyUnknown(key_id.to_owned()));
        }
        let key = open(&self.cipher, wrapped, context)?;
        let key: [u8; KEY] = key.try_into().map_err(|_| SealError::Damaged)?;
        Ok(DataKey::new(&key))
    }
}

/// A sealed secret with all that opening it needs, but for the wrapping key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub key_id: String,
    pub wrapped_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// A key that seals data, and hashes what must be found again.
#[derive(Clone)]
pub struct DataKey {
    cipher: Aes256Gcm,
    lookup: Hmac<Sha256>,
}

impl DataKey {
    fn new(key: &[u8; KEY]) -> Self {
        // The key of the hashes is derived, so that neither use says anything of the other.
        let lookup = keyed(&keyed(key).chain_update(b"carillon look-up").finalize().into_bytes());
        Self { cipher: cipher(key), lookup }
    }

    /// `context` binds the value to its place; opening needs the same.
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(&self.cipher, plain, context)
    }

    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        open(&self.cipher, sealed, context)
    }

    /// A keyed hash: equal for equal values of the same kind, and no way back.
    pub fn lookup(&self, kind: &str, value: &str) -> [u8; 32] {
        let mut mac = self.lookup.clone();
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn cipher(key: &[u8; KEY]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| SealError::Randomness)?;
    Ok(bytes)
}

fn seal(cipher: &Aes256Gcm, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce = random::<NONCE>()?;
    let payload = Payload { msg: plain, aad: context };
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
    Ok([&nonce[..], &sealed].concat())
}

fn open(cipher: &Aes256Gcm, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Damaged)?;
    let payload = Payload { msg: body, aad: context };
    cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealError::Damaged)
}

/// zstd at its fastest useful level: a batch is compressed once and opened once.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 1).expect("compressing into memory cannot fail")
}

/// Refuses to grow past `limit` bytes.
pub fn decompress(packed: &[u8], limit: usize) -> Result<Vec<u8>, SealError> {
    zstd::bulk::decompress(packed, limit).map_err(|_| SealError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapping() -> WrappingKey {
        WrappingKey::new([7; KEY])
    }

    #[test]
    fn what_was_sealed_opens_only_in_its_place() {
        let (key, wrapped) = wrapping().new_data_key(b"org").expect("key");
        let sealed = key.seal(b"+447700900001", b"customer 1").expect("sealed");
        let again = wrapping().unwrap(wrapping().id(), &wrapped, b"org").expect("unwrapped");
        assert_eq!(again.open(&sealed, b"customer 1"), Ok(b"+447700900001".to_vec()));
        assert_eq!(again.open(&sealed, b"customer 2"), Err(SealError::Damaged));
        assert!(wrapping().unwrap(wrapping().id(), &wrapped, b"other").is_err());
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (key, _) = wrapping().new_data_key(b"org").expect("key");
        let mut sealed = key.seal(b"value", b"").expect("sealed");
        sealed[NONCE] ^= 1;
        assert_eq!(key.open(&sealed, b""), Err(SealError::Damaged));
        assert_eq!(key.open(&sealed[..5], b""), Err(SealError::Damaged));
    }

    #[test]
    fn look_ups_agree_for_equal_values_of_one_kind_and_key() {
        let (key, wrapped) = wrapping().new_data_key(b"org").expect("key");
        let same = wrapping().unwrap(wrapping().id(), &wrapped, b"org").expect("unwrapped");
        let (other, _) = wrapping().new_data_key(b"org").expect("key");
        assert_eq!(key.lookup("phone", "1"), same.lookup("phone", "1"));
        assert_ne!(key.lookup("phone", "1"), key.lookup("email", "1"));
        assert_ne!(key.lookup("phone", "1"), other.lookup("phone", "1"));
    }

    #[test]
    fn a_foreign_wrapping_key_is_named() {
        let (_, wrapped) = wrapping().new_data_key(b"").expect("key");
        let other = WrappingKey::new([8; KEY]);
        let refused = other.unwrap(wrapping().id(), &wrapped, b"").err();
        assert_eq!(refused, Some(SealError::KeyUnknown(wrapping().id().to_owned())));
    }

    #[test]
    fn keys_come_from_hexadecimal_digits_only() {
        let hex = WrappingKey::generate_hex().expect("randomness");
        assert!(WrappingKey::from_hex(hex.as_bytes()).is_ok());
        assert!(WrappingKey::from_hex(b"short").is_err());
        assert!(WrappingKey::from_hex(&[b'z'; 64]).is_err());
    }

    #[test]
    fn compression_comes_back_and_a_bomb_is_refused() {
        let plain = vec![b'a'; 100_000];
        let packed = compress(&plain);
        assert!(packed.len() < 1_000);
        assert_eq!(decompress(&packed, 200_000), Ok(plain));
        assert_eq!(decompress(&packed, 1_000), Err(SealError::Damaged));
    }
}
