use carillon_contracts::campaign::v1::{
    CreateKeyRequest, CreateKeyResponse, GetOrganisationRequest, Key, ListKeysRequest,
    RevokeKeyRequest, RevokeKeyResponse, RotateKeyRequest,
};
use carillon_service_kit::database::Sql as _;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{PLATFORM, World, with_key};

async fn create(world: &World, name: &str) -> CreateKeyResponse {
    let request = world.ours(CreateKeyRequest { name: name.into() });
    world.keys().create_key(request).await.expect("created").into_inner()
}

async fn list(world: &World, key: &str) -> Vec<Key> {
    let listed = world.keys().list_keys(with_key(ListKeysRequest {}, key)).await;
    listed.expect("listed").into_inner().keys
}

async fn rotate(world: &World, id: &str) -> Result<CreateKeyResponse, Status> {
    let request = world.ours(RotateKeyRequest { id: id.into() });
    world.keys().rotate_key(request).await.map(Response::into_inner)
}

async fn revoke(world: &World, key: &str, id: &str) -> Result<RevokeKeyResponse, Status> {
    let request = with_key(RevokeKeyRequest { id: id.into() }, key);
    world.keys().revoke_key(request).await.map(Response::into_inner)
}

async fn works(world: &World, key: &str) -> bool {
    let request = with_key(GetOrganisationRequest {}, key);
    let here = world.organisations().get_organisation(request).await.is_ok();
    let elsewhere = world.caller_elsewhere(key).await.is_ok();
    assert_eq!(here, elsewhere, "every service says the same");
    here
}

#[tokio::test]
async fn a_key_works_everywhere_when_answered_and_is_shown_once() {
    let world = World::new().await;
    let made = create(&world, "till 3").await;
    assert!(made.in_effect);
    let key = made.key.expect("a key");
    assert_eq!((key.name.as_str(), key.prefix.as_str()), ("till 3", &made.api_key[..12]));
    assert!(works(&world, &made.api_key).await);
    let listed = list(&world, &made.api_key).await;
    let names: Vec<&str> = listed.iter().map(|key| &*key.name).collect();
    assert_eq!(names, ["first", "till 3"], "the oldest first");
    assert_eq!(listed[1], key);
    let kept = world.own().reader().rows("SELECT hash, prefix, name FROM api_keys", []).await;
    for row in kept.expect("read") {
        let hash: Vec<u8> = row.try_get("", "hash").expect("a hash");
        assert_eq!(hash.len(), 32);
        assert_ne!(hash, made.api_key.as_bytes());
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_when_answered() {
    let world = World::new().await;
    let made = create(&world, "lost").await;
    let id = made.key.expect("a key").id;
    assert!(works(&world, &made.api_key).await);
    assert!(revoke(&world, &world.key, &id).await.expect("revoked").in_effect);
    assert!(!works(&world, &made.api_key).await);
    assert!(works(&world, &world.key).await, "the others still work");
    let again = revoke(&world, &world.key, &id).await.expect("the same");
    assert!(again.in_effect, "doing it again is harmless");
    assert_eq!(list(&world, &world.key).await.len(), 1);
    let request = with_key(GetOrganisationRequest {}, &made.api_key);
    let status = world.organisations().get_organisation(request).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_may_revoke_itself_but_the_last_one_stays() {
    let world = World::new().await;
    let other = create(&world, "other").await;
    let first = list(&world, &world.key).await[0].id.clone();
    revoke(&world, &world.key, &first).await.expect("revoked by itself");
    assert!(!works(&world, &world.key).await);
    let last = other.key.expect("a key").id;
    let status = revoke(&world, &other.api_key, &last).await.expect_err("the last");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "LAST_KEY");
    assert!(works(&world, &other.api_key).await);
}

#[tokio::test]
async fn a_rotated_key_changes_places_with_a_new_one() {
    let world = World::new().await;
    let made = create(&world, "pos").await;
    let old = made.key.expect("a key");
    let rotated = rotate(&world, &old.id).await.expect("rotated");
    assert!(rotated.in_effect);
    let new = rotated.key.expect("a key");
    assert_eq!(new.name, "pos");
    assert_ne!((&new.id, &rotated.api_key), (&old.id, &made.api_key));
    assert!(works(&world, &rotated.api_key).await);
    assert!(!works(&world, &made.api_key).await);
    let status = rotate(&world, &old.id).await.expect_err("it is gone");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "KEY_REVOKED");
    // The last one can be rotated too, for then there is another.
    let (_, lone) = world.create_organisation("Lone").await;
    let id = list(&world, &lone).await[0].id.clone();
    let request = with_key(RotateKeyRequest { id }, &lone);
    let rotated = world.keys().rotate_key(request).await.expect("rotated").into_inner();
    assert!(works(&world, &rotated.api_key).await && !works(&world, &lone).await);
}

#[tokio::test]
async fn of_two_revocations_at_once_one_key_is_left() {
    let world = World::new().await;
    let other = create(&world, "other").await;
    let ids: Vec<String> = list(&world, &world.key).await.into_iter().map(|key| key.id).collect();
    let (one, two) =
        tokio::join!(revoke(&world, &world.key, &ids[0]), revoke(&world, &other.api_key, &ids[1]));
    assert!(one.is_ok() != two.is_ok(), "one is the last: {one:?}, {two:?}");
    let left = [works(&world, &world.key).await, works(&world, &other.api_key).await];
    assert_eq!(left.iter().filter(|works| **works).count(), 1);
}

#[tokio::test]
async fn what_nobody_hears_of_is_not_in_effect() {
    let world = World::alone().await;
    let (_, key) = world.create_organisation("Deaf").await;
    let request = with_key(CreateKeyRequest::default(), &key);
    let made = world.keys().create_key(request).await.expect("created").into_inner();
    assert!(!made.in_effect);
    let revoked = revoke(&world, &key, &made.key.expect("a key").id).await.expect("revoked");
    assert!(!revoked.in_effect);
    world.everyone_listens();
    carillon_testkit::eventually("every service refuses it", || async {
        world.caller_elsewhere(&key).await.is_ok()
            && world.caller_elsewhere(&made.api_key).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn keys_are_their_organisations_own() {
    let world = World::new().await;
    let (_, other) = world.create_organisation("Other").await;
    let ours = list(&world, &world.key).await[0].id.clone();
    for id in [ours.as_str(), "0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11", "x"] {
        let status = revoke(&world, &other, id).await.expect_err("hidden");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.message(),
            format!("id: there is no key '{id}'; `carillon keys list` shows those there are")
        );
    }
    let status = revoke(&world, &other, "").await.expect_err("missing");
    assert_eq!(status.message(), "id: is missing; `carillon keys list` shows the keys' ids");
    let denied = world.keys().list_keys(with_key(ListKeysRequest {}, PLATFORM)).await;
    assert_eq!(denied.expect_err("denied").code(), Code::PermissionDenied);
}
