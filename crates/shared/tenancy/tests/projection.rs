//! What a service knows of organisations and their keys, from documents in any order.

use async_trait::async_trait;
use carillon_contracts::{
    campaign::v1::Organisation,
    events::v1::{KeyHash, OrganisationChanged},
    ids::OrganisationId,
};
use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_sealing::WrappingKey;
use carillon_tenancy::{
    Caller, CreateTenancy, NameKeys, PLATFORM_PREFIX, SMS_TOKEN, SMTP_PASSWORD, Tenancy, hash_key,
    open_secret, seal_secret, secret_of,
};
use carillon_testkit::{TestDatabase, database};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tonic::{Code, Status, metadata::MetadataMap};
use uuid::Uuid;

struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(AddDocuments),
        ]
    }
}

/// A key with an id and a prefix that follow from it.
fn named(key: &str) -> KeyHash {
    let hash = hash_key(key);
    let id = hash[..16].to_vec().into();
    let test = key == "test";
    KeyHash { hash: hash.to_vec().into(), id, prefix: format!("crl_{key}"), test }
}

struct World {
    database: TestDatabase,
    tenancy: Tenancy,
}

impl World {
    async fn new() -> Self {
        let database = database::<Migrator>().await;
        Self { tenancy: Tenancy::new(database.database.clone()), database }
    }

    async fn apply(&self, id: OrganisationId, version: u64, keys: &[&str]) {
        let document = OrganisationChanged {
            organisation: Some(Organisation {
                name: format!("version {version}"),
                ..Organisation::default()
            }),
            version,
            keys: keys.iter().map(|key| named(key)).collect(),
            ..OrganisationChanged::default()
        };
        let tx = self.database.database.begin().await.expect("a transaction");
        self.tenancy.apply(&tx, id, &document).await.expect("applied");
        tx.commit().await.expect("committed");
    }

    async fn caller(&self, key: &str) -> Result<Caller, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
        self.tenancy.caller(&metadata).await
    }
}

#[tokio::test]
async fn of_documents_the_newest_counts_with_its_keys() {
    let world = World::new().await;
    let id = OrganisationId::random();
    world.apply(id, 2, &["kept", "revoked"]).await;
    assert_eq!(world.caller("revoked").await.expect("known").organisation, id);
    world.apply(id, 3, &["kept", "added", "test"]).await;
    world.apply(id, 1, &["revoked"]).await;
    let name = world.tenancy.organisation(id).await.expect("read").expect("known").name;
    assert_eq!(name, "version 3");
    for key in ["kept", "added", "test"] {
        let caller = world.caller(key).await.expect("known");
        assert_eq!(caller.organisation, id);
        assert_eq!(caller.key.id, Uuid::from_slice(&hash_key(key)[..16]).ok());
        assert_eq!(caller.key.prefix, format!("crl_{key}"));
        assert_eq!(caller.key.test, key == "test");
    }
    assert_eq!(world.caller("revoked").await.expect_err("revoked").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_stands_for_its_organisation_alone() {
    let world = World::new().await;
    let (one, other) = (OrganisationId::random(), OrganisationId::random());
    world.apply(one, 1, &["one"]).await;
    world.apply(other, 1, &["other"]).await;
    assert_eq!(world.caller("one").await.expect("known").organisation, one);
    assert_eq!(world.caller("other").await.expect("known").organisation, other);
    let platform = format!("{PLATFORM_PREFIX}123");
    let refused = world.caller(&platform).await.expect_err("it acts inside no organisation");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = world.tenancy.caller(&MetadataMap::new()).await.expect_err("no key");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(world.tenancy.document(OrganisationId::random()).await.expect("read"), None);
}

#[test]
fn a_secret_opens_only_for_its_organisation_and_setting() {
    let key = WrappingKey::new([7; 32]);
    let (one, other) = (OrganisationId::random(), OrganisationId::random());
    let sealed = seal_secret(&key, one, SMTP_PASSWORD, b"hunter2").expect("sealed");
    assert_eq!(open_secret(&key, one, SMTP_PASSWORD, &sealed).expect("opened"), b"hunter2");
    assert!(open_secret(&key, other, SMTP_PASSWORD, &sealed).is_err());
    assert!(open_secret(&key, one, SMS_TOKEN, &sealed).is_err());
    let secrets = [(SMTP_PASSWORD.to_owned(), sealed)].into_iter().collect();
    let document = OrganisationChanged { secrets, ..OrganisationChanged::default() };
    let found = secret_of(&key, one, SMTP_PASSWORD, &document).expect("opened");
    assert_eq!(found.as_deref(), Some(b"hunter2".as_slice()));
    assert_eq!(secret_of(&key, one, SMS_TOKEN, &document).expect("absent"), None);
}
