use carillon_contracts::ids::OrganisationId;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub(crate) type Hash = [u8; 32];

/// What the first entry follows.
pub(crate) const BEGINNING: Hash = [0; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts an organisation's entries from 1.
    pub number: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    pub key_id: Option<Uuid>,
    pub key_prefix: String,
    pub act: String,
    pub subject: String,
    /// JSON objects of the fields that differ; empty where there are none.
    pub before: String,
    pub after: String,
}

impl Entry {
    /// SHA-256 over the previous hash and every field, each text with its length before it.
    pub(crate) fn hash(&self, organisation: OrganisationId, previous: &Hash) -> Hash {
        let mut digest = Sha256::new();
        digest.update(previous);
        digest.update(organisation.uuid().as_bytes());
        digest.update(self.number.to_be_bytes());
        digest.update(self.at.to_be_bytes());
        digest.update([u8::from(self.key_id.is_some())]);
        digest.update(self.key_id.unwrap_or_default().as_bytes());
        for text in [&self.key_prefix, &self.act, &self.subject, &self.before, &self.after] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_hash() {
        let organisation = OrganisationId::new(Uuid::from_u128(1));
        let entry = Entry {
            number: 1,
            at: 3,
            key_id: Some(Uuid::nil()),
            key_prefix: "crl_1".into(),
            act: "key.revoked".into(),
            subject: "keys/1".into(),
            before: "{}".into(),
            after: String::new(),
        };
        let changed = [
            Entry { number: 2, ..entry.clone() },
            Entry { at: 4, ..entry.clone() },
            Entry { key_id: None, ..entry.clone() },
            Entry { key_prefix: "crl_".into(), act: "1key.revoked".into(), ..entry.clone() },
            Entry { subject: "keys/2".into(), ..entry.clone() },
            Entry { before: String::new(), after: "{}".into(), ..entry.clone() },
        ];
        let hash = entry.hash(organisation, &BEGINNING);
        for other in changed {
            assert_ne!(other.hash(organisation, &BEGINNING), hash, "{other:?}");
        }
        assert_ne!(entry.hash(organisation, &[1; 32]), hash);
        assert_ne!(entry.hash(OrganisationId::new(Uuid::from_u128(8)), &BEGINNING), hash);
    }
}
