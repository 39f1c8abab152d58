//! The log of consent: each entry carries the hash of the one before it, so that a changed, removed
//! or inserted entry shows.

use carillon_contracts::ids::{CustomerId, OrganisationId};
use sha2::{Digest as _, Sha256};

pub(crate) type Hash = [u8; 32];

/// What the first entry follows.
pub(crate) const BEGINNING: Hash = [0; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counts an organisation's entries from 1.
    pub number: i64,
    pub customer: CustomerId,
    /// Milliseconds since 1970.
    pub at: i64,
    /// `import`, `opt_out`, `reply`, or the beginning of the caller's key's hash.
    pub by: String,
    /// A word of consent, or of a subscription; empty for a new customer.
    pub from: String,
    pub to: String,
}

impl Entry {
    /// SHA-256 over the previous hash and every field, each with its length before it.
    pub(crate) fn hash(&self, organisation: OrganisationId, previous: &Hash) -> Hash {
        let mut digest = Sha256::new();
        digest.update(previous);
        digest.update(organisation.uuid().as_bytes());
        digest.update(self.number.to_be_bytes());
        digest.update(self.customer.uuid().as_bytes());
        digest.update(self.at.to_be_bytes());
        for text in [&self.by, &self.from, &self.to] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_field_is_in_the_hash() {
        let organisation = OrganisationId::new(Uuid::from_u128(1));
        let entry = Entry {
            number: 1,
            customer: CustomerId::new(Uuid::from_u128(2)),
            at: 3,
            by: "import".into(),
            from: "".into(),
            to: "given".into(),
        };
        let customer = CustomerId::new(Uuid::from_u128(9));
        let changed = [
            Entry { number: 2, ..entry.clone() },
            Entry { customer, ..entry.clone() },
            Entry { at: 4, ..entry.clone() },
            Entry { by: "impor".into(), from: "t".into(), ..entry.clone() },
            Entry { to: "withheld".into(), ..entry.clone() },
        ];
        let hash = entry.hash(organisation, &BEGINNING);
        for other in changed {
            assert_ne!(other.hash(organisation, &BEGINNING), hash);
        }
        assert_ne!(entry.hash(organisation, &[1; 32]), hash);
        let elsewhere = OrganisationId::new(Uuid::from_u128(8));
        assert_ne!(entry.hash(elsewhere, &BEGINNING), hash);
    }
}
