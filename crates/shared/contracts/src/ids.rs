//! Typed ids. Those of a run, a batch and a message follow from what they name, so that doing a
//! step again yields the same ids.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{jobs::v1::Channel, vocabulary::ChannelWord};

/// The text or the bytes were not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not an id: a UUID such as 0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11 is expected")]
pub struct InvalidId {
    pub value: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// From the 16 bytes that travel in jobs and events.
            pub fn from_wire(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes)
                    .map(Self)
                    .map_err(|_| InvalidId { value: format!("{} bytes", bytes.len()) })
            }

            pub fn to_wire(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(self.0.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| InvalidId { value: text.chars().take(64).collect() })
            }
        }
    };
}

id!(
    /// A tenant. It comes from the credential, never from a field of the request.
    OrganisationId
);
id!(CampaignId);
id!(TemplateId);
id!(RunId);
id!(BatchId);
id!(MessageId);
id!(CustomerId);

impl OrganisationId {
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl CampaignId {
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl TemplateId {
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl CustomerId {
    pub fn of(organisation: OrganisationId, external_id: &str) -> Self {
        Self(Uuid::new_v5(&organisation.0, external_id.as_bytes()))
    }
}

impl RunId {
    pub fn of(campaign: CampaignId, occurrence_key: &str) -> Self {
        Self(Uuid::new_v5(&campaign.0, occurrence_key.as_bytes()))
    }
}

impl BatchId {
    pub fn of(run: RunId, channel: Channel, number: u32) -> Self {
        let name = format!("batch/{}/{number}", channel.word());
        Self(Uuid::new_v5(&run.0, name.as_bytes()))
    }
}

impl MessageId {
    pub fn of(run: RunId, channel: Channel, customer: CustomerId) -> Self {
        let mut name = [0_u8; 24];
        let word = channel.word().as_bytes();
        name[..word.len()].copy_from_slice(word);
        name[8..].copy_from_slice(customer.0.as_bytes());
        Self(Uuid::new_v5(&run.0, &name))
    }
}

/// Customer ids travel as one string of bytes, 16 each.
pub fn pack_customers(ids: impl IntoIterator<Item = CustomerId>) -> bytes::Bytes {
    ids.into_iter().flat_map(|id| *id.0.as_bytes()).collect::<Vec<u8>>().into()
}

pub fn unpack_customers(bytes: &[u8]) -> Result<Vec<CustomerId>, InvalidId> {
    if !bytes.len().is_multiple_of(16) {
        return Err(InvalidId { value: format!("{} bytes", bytes.len()) });
    }
    bytes.chunks_exact(16).map(CustomerId::from_wire).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::of(CampaignId::new(Uuid::from_u128(7)), "now")
    }

    #[test]
    fn a_step_done_again_yields_the_same_ids() {
        assert_eq!(run(), run());
        assert_eq!(BatchId::of(run(), Channel::Sms, 3), BatchId::of(run(), Channel::Sms, 3));
    }

    #[test]
    fn channels_and_numbers_tell_ids_apart() {
        let customer = CustomerId::new(Uuid::from_u128(9));
        assert_ne!(BatchId::of(run(), Channel::Sms, 1), BatchId::of(run(), Channel::Email, 1));
        assert_ne!(BatchId::of(run(), Channel::Sms, 1), BatchId::of(run(), Channel::Sms, 2));
        assert_ne!(
            MessageId::of(run(), Channel::Sms, customer),
            MessageId::of(run(), Channel::Email, customer)
        );
    }

    #[test]
    fn packed_customers_come_back_and_a_torn_pack_is_refused() {
        let ids = [1_u128, 2, 3].map(|n| CustomerId::new(Uuid::from_u128(n)));
        let packed = pack_customers(ids);
        assert_eq!(unpack_customers(&packed), Ok(ids.to_vec()));
        assert!(unpack_customers(&packed[..17]).is_err());
    }
}
