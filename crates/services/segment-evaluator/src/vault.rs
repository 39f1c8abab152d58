//! Where personal data is sealed and opened: a data key for each organisation, wrapped by the key
//! of the configuration, and keyed hashes for look-ups.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use carillon_contracts::{
    audience::v1::Consent,
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_sealing::{DataKey, SealError, WrappingKey};
use carillon_service_kit::Database;
use prost::Message as _;

use crate::{
    domain::{
        decide::AddressHash,
        email,
        record::{Profile, Record, Subscription, name_for_lookup},
    },
    failure::Failure,
    store::{self, CustomerRow},
};

/// The organisations' data keys, kept in memory once unwrapped.
#[derive(Clone)]
pub(crate) struct Vault {
    wrapping: WrappingKey,
    database: Database,
    known: Arc<RwLock<HashMap<OrganisationId, Arc<Keeper>>>>,
}

impl Vault {
    pub(crate) fn new(wrapping: WrappingKey, database: Database) -> Self {
        Self { wrapping, database, known: Arc::default() }
    }

    pub(crate) fn wrapping(&self) -> &WrappingKey {
        &self.wrapping
    }

    /// Makes the organisation's key on its first use. Not to be called inside a transaction that
    /// writes: it may need one itself.
    pub(crate) async fn keeper(
        &self,
        organisation: OrganisationId,
    ) -> Result<Arc<Keeper>, Failure> {
        if let Some(keeper) = self.known(organisation).await? {
            return Ok(keeper);
        }
        let made = self.make(organisation).await?;
        self.remember(organisation, made)
    }

    /// None where the organisation has no key yet, and so no customers.
    pub(crate) async fn known(
        &self,
        organisation: OrganisationId,
    ) -> Result<Option<Arc<Keeper>>, Failure> {
        if let Some(keeper) = self.remembered(organisation) {
            return Ok(Some(keeper));
        }
        let stored = store::data_key(self.database.reader(), organisation).await?;
        stored.map(|stored| self.remember(organisation, stored)).transpose()
    }

    fn remember(
        &self,
        organisation: OrganisationId,
        (key_id, wrapped): (String, Vec<u8>),
    ) -> Result<Arc<Keeper>, Failure> {
        let context = organisation.uuid().into_bytes();
        let key = self.wrapping.unwrap(&key_id, &wrapped, &context)?;
        let keeper = Arc::new(Keeper { organisation, key });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(organisation, Arc::clone(&keeper));
        Ok(keeper)
    }

    fn remembered(&self, organisation: OrganisationId) -> Option<Arc<Keeper>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&organisation).map(Arc::clone)
    }

    async fn make(&self, organisation: OrganisationId) -> Result<(String, Vec<u8>), Failure> {
        let (_, wrapped) = self.wrapping.new_data_key(organisation.uuid().as_bytes())?;
        let tx = self.database.begin().await?;
        store::keep_data_key(&tx, organisation, self.wrapping.id(), wrapped).await?;
        let kept = store::data_key(&tx, organisation).await?;
        tx.commit().await?;
        kept.ok_or_else(|| Failure::Stored("a data key that was just kept".into()))
    }
}

/// Seals, opens and hashes for one organisation.
pub(crate) struct Keeper {
    organisation: OrganisationId,
    key: DataKey,
}

/// What a customer can be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashes {
    pub phone: Option<AddressHash>,
    pub email: Option<AddressHash>,
    pub name: Option<[u8; 32]>,
    pub display_name: Option<[u8; 32]>,
    pub cards: Vec<[u8; 32]>,
}

impl Hashes {
    pub(crate) fn address(&self, channel: Channel) -> Option<AddressHash> {
        match channel {
            Channel::Email => self.email,
            _ => self.phone,
        }
    }
}

impl Keeper {
    /// Organisation and customer: a profile opens only in its own row.
    fn context(&self, customer: CustomerId) -> [u8; 32] {
        let mut context = [0; 32];
        context[..16].copy_from_slice(self.organisation.uuid().as_bytes());
        context[16..].copy_from_slice(customer.uuid().as_bytes());
        context
    }

    pub(crate) fn seal(
        &self,
        customer: CustomerId,
        profile: &Profile,
    ) -> Result<Vec<u8>, SealError> {
        self.key.seal(&profile.encode_to_vec(), &self.context(customer))
    }

    pub(crate) fn open(&self, customer: CustomerId, sealed: &[u8]) -> Result<Profile, Failure> {
        let plain = self.key.open(sealed, &self.context(customer))?;
        Profile::decode(plain.as_slice()).map_err(|error| Failure::Stored(error.to_string()))
    }

    pub(crate) fn hashes(&self, profile: &Profile) -> Hashes {
        let present = |text: &str| !text.is_empty();
        let name = name_for_lookup(&[&profile.first_name, &profile.last_name]);
        let display_name = name_for_lookup(&[&profile.display_name]);
        Hashes {
            phone: present(&profile.phone).then(|| self.phone(&profile.phone)),
            email: present(&profile.email).then(|| self.email(&profile.email)),
            name: present(&name).then(|| self.key.lookup("name", &name)),
            display_name: present(&display_name).then(|| self.key.lookup("name", &display_name)),
            cards: profile.cards.iter().map(|card| self.card(card)).collect(),
        }
    }

    /// `number` in E.164.
    pub(crate) fn phone(&self, number: &str) -> AddressHash {
        self.key.lookup("phone", number)
    }

    pub(crate) fn email(&self, address: &str) -> AddressHash {
        self.key.lookup("email", &email::for_lookup(address))
    }

    pub(crate) fn card(&self, card: &str) -> [u8; 32] {
        self.key.lookup("card", card)
    }

    pub(crate) fn name(&self, name: &str) -> [u8; 32] {
        self.key.lookup("name", &name_for_lookup(&[name]))
    }

    /// A stored customer, with the profile opened.
    pub(crate) fn record(&self, row: CustomerRow) -> Result<Record, Failure> {
        let id = CustomerId::new(row.id);
        let list = |text: &str| {
            serde_json::from_str(text).map_err(|error| Failure::Stored(error.to_string()))
        };
        Ok(Record {
            profile: self.open(id, &row.profile)?,
            id,
            external_id: row.external_id,
            language: row.language,
            time_zone: row.time_zone,
            categories: list(&row.categories)?,
            points: row.points,
            favourite: row.favourite,
            consent: Consent::try_from(row.consent)
                .map_err(|error| Failure::Stored(error.to_string()))?,
            subscribe_sms: Subscription::from_stored(row.subscribe_sms),
            subscribe_email: Subscription::from_stored(row.subscribe_email),
            blacklisted: row.blacklisted,
            joined_on: row.joined_on,
            programmes: list(&row.programmes)?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}
