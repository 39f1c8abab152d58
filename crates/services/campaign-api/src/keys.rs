//! The API keys of an organisation: made, listed, rotated, revoked. A key is shown once; what is
//! kept is its hash, and its first characters by which people tell keys apart.

use carillon_audit::{Change, acts};
use carillon_contracts::{
    campaign::v1::{
        CreateKeyRequest, CreateKeyResponse, ListKeysResponse, RevokeKeyRequest, RevokeKeyResponse,
        RotateKeyRequest,
    },
    ids::OrganisationId,
};
use carillon_service_kit::status::{internal, invalid, not_found, refused};
use carillon_tenancy::{Caller, hash_key};
use rand::{TryRng as _, rngs::SysRng};
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::Status;
use uuid::Uuid;

use crate::{
    CampaignApi,
    grpc::no_organisation,
    store::{self, KeyRow, OrganisationRow},
};

const LONGEST_NAME: usize = 100;
const MOST_KEYS: usize = 100;
/// Digits of a key that are kept: of 256 random bits, 224 stay unknown.
const SHOWN: usize = 8;

/// A new key, while it can still be shown.
pub(crate) struct NewKey {
    pub row: KeyRow,
    pub api_key: String,
}

impl NewKey {
    pub(crate) fn make(name: &str, test: bool, now_ms: i64) -> Result<Self, Status> {
        let begins = if test { "crl_test_" } else { "crl_" };
        let api_key = format!("{begins}{}", random_digits().map_err(internal)?);
        let row = KeyRow {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            prefix: api_key[..begins.len() + SHOWN].to_owned(),
            test,
            created_ms: now_ms,
            revoked: false,
        };
        Ok(Self { row, api_key })
    }

    pub(crate) async fn insert(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<(), DbErr> {
        store::insert_key(tx, organisation, &self.row, hash_key(&self.api_key)).await
    }
}

impl CampaignApi {
    pub(crate) async fn create_key(
        &self,
        caller: &Caller,
        request: CreateKeyRequest,
    ) -> Result<CreateKeyResponse, Status> {
        let organisation = caller.organisation;
        check_name(&request.name)?;
        check_made_with(caller, request.test)?;
        let tx = self.database.begin().await.map_err(internal)?;
        let row = self.locked(&tx, organisation).await?;
        let known = store::keys(&tx, organisation).await.map_err(internal)?;
        if known.len() >= MOST_KEYS {
            return Err(refused(
                "TOO_MANY_KEYS",
                format!(
                    "the organisation has {MOST_KEYS} keys, which is the most; revoke one first"
                ),
            ));
        }
        let key = NewKey::make(&request.name, request.test, self.clock.now_ms())?;
        key.insert(&tx, organisation).await.map_err(internal)?;
        let deed = (acts::KEY_CREATED, key.row.subject(), Change::to(key.row.audited()));
        self.answer_with(tx, caller, row, key, deed).await
    }

    pub(crate) async fn list_keys(
        &self,
        organisation: OrganisationId,
    ) -> Result<ListKeysResponse, Status> {
        let rows = store::keys(self.database.reader(), organisation).await.map_err(internal)?;
        Ok(ListKeysResponse { keys: rows.into_iter().map(KeyRow::into_key).collect() })
    }

    /// The new key comes and the old one goes at the same moment, in every service.
    pub(crate) async fn rotate_key(
        &self,
        caller: &Caller,
        request: RotateKeyRequest,
    ) -> Result<CreateKeyResponse, Status> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let row = self.locked(&tx, organisation).await?;
        let old = find_key(&tx, organisation, &request.id).await?;
        if old.revoked {
            return Err(refused(
                "KEY_REVOKED",
                format!("id: key {} was revoked; create another one", old.id),
            ));
        }
        check_made_with(caller, old.test)?;
        let now_ms = self.clock.now_ms();
        let key = NewKey::make(&old.name, old.test, now_ms)?;
        store::revoke_key(&tx, organisation, old.id, now_ms).await.map_err(internal)?;
        key.insert(&tx, organisation).await.map_err(internal)?;
        let mut after = key.row.audited();
        after.insert("id".to_owned(), key.row.id.to_string().into());
        let change = Change::between(old.audited(), after);
        self.answer_with(tx, caller, row, key, (acts::KEY_ROTATED, old.subject(), change)).await
    }

    pub(crate) async fn revoke_key(
        &self,
        caller: &Caller,
        request: RevokeKeyRequest,
    ) -> Result<RevokeKeyResponse, Status> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let row = self.locked(&tx, organisation).await?;
        let key = find_key(&tx, organisation, &request.id).await?;
        let told = if key.revoked {
            row.told
        } else {
            check_revoked_by(caller, &key)?;
            let left = store::keys(&tx, organisation).await.map_err(internal)?;
            if !key.test && left.iter().filter(|key| !key.test).count() == 1 {
                return Err(refused(
                    "LAST_KEY",
                    format!(
                        "id: key {} is the organisation's last one, and without it nobody could \
                         make another; rotate it instead, or create one first",
                        key.id
                    ),
                ));
            }
            let now_ms = self.clock.now_ms();
            store::revoke_key(&tx, organisation, key.id, now_ms).await.map_err(internal)?;
            let told = self.store_changed(&tx, row).await.map_err(internal)?.told;
            let change = Change::from(key.audited());
            self.record(&tx, caller, acts::KEY_REVOKED, key.subject(), change)
                .await
                .map_err(internal)?;
            told
        };
        tx.commit().await.map_err(internal)?;
        Ok(RevokeKeyResponse { in_effect: self.in_effect(told).await })
    }

    async fn locked(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<OrganisationRow, Status> {
        let row = store::locked_organisation(tx, organisation).await.map_err(internal)?;
        row.ok_or_else(|| no_organisation(organisation))
    }

    async fn answer_with(
        &self,
        tx: DatabaseTransaction,
        caller: &Caller,
        row: OrganisationRow,
        key: NewKey,
        (act, subject, change): (&'static str, String, Change),
    ) -> Result<CreateKeyResponse, Status> {
        let told = self.store_changed(&tx, row).await.map_err(internal)?.told;
        self.record(&tx, caller, act, subject, change).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        let in_effect = self.in_effect(told).await;
        let NewKey { row, api_key } = key;
        Ok(CreateKeyResponse { key: Some(row.into_key()), api_key, in_effect })
    }
}

async fn find_key(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: &str,
) -> Result<KeyRow, Status> {
    if id.is_empty() {
        return Err(invalid("id", "is missing; `carillon keys list` shows the keys' ids"));
    }
    let unknown = || {
        let shown: String = id.chars().take(64).collect();
        not_found(format!(
            "id: there is no key '{shown}'; `carillon keys list` shows those there are"
        ))
    };
    let uuid: Uuid = id.parse().map_err(|_| unknown())?;
    store::key(tx, organisation, uuid).await.map_err(internal)?.ok_or_else(unknown)
}

/// Who has a test key cannot get at another.
fn check_made_with(caller: &Caller, test: bool) -> Result<(), Status> {
    if test || !caller.key.test {
        return Ok(());
    }
    Err(refused(
        "TEST_KEY",
        "api-key: this is a test key, and makes only further test keys; set test: true (`carillon \
         keys create --test`), or use another key",
    ))
}

fn check_revoked_by(caller: &Caller, key: &KeyRow) -> Result<(), Status> {
    if key.test || !caller.key.test {
        return Ok(());
    }
    Err(refused(
        "TEST_KEY",
        format!("api-key: this is a test key, and can't revoke key {}; use another key", key.id),
    ))
}

fn check_name(name: &str) -> Result<(), Status> {
    let length = name.chars().count();
    if length > LONGEST_NAME {
        let rule = format!("has {length} characters; {LONGEST_NAME} at most");
        return Err(invalid("name", format!("{rule}, so shorten it by {}", length - LONGEST_NAME)));
    }
    match name.chars().position(char::is_control) {
        Some(at) => Err(invalid(
            "name",
            format!("has a control character at character {}; remove it", at + 1),
        )),
        None => Ok(()),
    }
}

/// 32 random bytes in hexadecimal.
fn random_digits() -> Result<String, rand::rngs::SysError> {
    let mut bytes = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_no_two_are_alike() {
        let make = |test| NewKey::make("till", test, 7).expect("randomness").api_key;
        let [one, other, test] = [make(false), make(false), make(true)];
        assert!([&one, &other].iter().all(|key| key.len() == 68 && key.starts_with("crl_")));
        assert_ne!(one, other);
        assert!(test.len() == 73 && test.starts_with("crl_test_"), "{test}");
    }

    #[test]
    fn a_key_is_kept_by_its_first_characters_alone() {
        for (test, shown) in [(false, 12), (true, 17)] {
            let key = NewKey::make("till", test, 7).expect("randomness");
            assert_eq!(key.row.prefix, key.api_key[..shown]);
        }
    }

    #[test]
    fn a_name_may_be_empty_and_has_one_line() {
        check_name("").expect("empty");
        check_name(&"é".repeat(100)).expect("100 characters");
        let wrong = check_name("a\nb").expect_err("refused");
        assert_eq!(wrong.message(), "name: has a control character at character 2; remove it");
        let long = check_name(&"x".repeat(101)).expect_err("refused");
        assert_eq!(long.message(), "name: has 101 characters; 100 at most, so shorten it by 1");
    }
}
