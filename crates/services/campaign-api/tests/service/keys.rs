use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{
        Campaign, CreateKeyRequest, CreateKeyResponse, GetOrganisationRequest, Key,
        ListKeysRequest, PauseCampaignRequest, ResumeCampaignRequest, RevokeKeyRequest,
        RevokeKeyResponse, RotateKeyRequest, StartCampaignRequest, TestCampaignRequest,
        UpdateCampaignRequest,
    },
    events::v1::event::Body,
    report::v1::GetReportRequest,
};
use carillon_service_kit::database::Sql as _;
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{PLATFORM, World, campaign, next, with_key};

async fn create(world: &World, name: &str) -> CreateKeyResponse {
    let request = world.ours(CreateKeyRequest { name: name.into(), test: false });
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
async fn a_test_key_neither_revokes_a_real_one_nor_counts_as_the_last() {
    let world = World::new().await;
    let request = CreateKeyRequest { name: "trial".into(), test: true };
    let made = world.keys().create_key(with_key(request, &world.key)).await;
    let trial = made.expect("created").into_inner();
    let real = list(&world, &world.key).await.into_iter().find(|key| !key.test).expect("one").id;
    for (by, reason) in [(&trial.api_key, "TEST_KEY"), (&world.key, "LAST_KEY")] {
        let status = revoke(&world, by, &real).await.expect_err("refused");
        assert_eq!(status.get_details_error_info().expect("a reason").reason, reason);
    }
    let id = trial.key.expect("a key").id;
    revoke(&world, &trial.api_key, &id).await.expect("by itself");
    assert!(works(&world, &world.key).await);
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

async fn create_test(world: &World) -> CreateKeyResponse {
    let request = world.ours(CreateKeyRequest { name: "trying".into(), test: true });
    world.keys().create_key(request).await.expect("created").into_inner()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("a reason").reason
}

#[tokio::test]
async fn what_a_test_key_starts_says_so_all_the_way() {
    let world = World::new().await;
    world.everyone_obeys();
    let key = create_test(&world).await.api_key;
    assert!(key.starts_with("crl_test_") && works(&world, &key).await);
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let mut campaigns = world.campaigns();
    // Nobody says so of a campaign but the key that starts it.
    let mut given = campaign("Monday");
    given.test = true;
    given.content.get_or_insert_default().test = true;
    let real = world.create(given).await;
    assert!(!real.test && !real.content.as_ref().expect("a content").test);
    let real = world.try_start(&real.id).await.expect("started");
    let tried = world.create(campaign("Tuesday")).await;
    let request = with_key(StartCampaignRequest { id: tried.id.clone() }, &key);
    let tried = campaigns.start_campaign(request).await.expect("started").into_inner();
    let request =
        TestCampaignRequest { id: real.id.clone(), customer: "C1".into(), ..Default::default() };
    let sent = campaigns.test_campaign(with_key(request, &key)).await.expect("sent").into_inner();
    for (campaign, test) in [(&real, false), (&tried, true), (&sent, true)] {
        assert_eq!(campaign.test, test);
        let Some(Body::CampaignPublished(published)) = next(&mut queue).await.body else {
            panic!("another event")
        };
        let published = published.campaign.expect("a campaign");
        assert_eq!((&published.id, published.test), (&campaign.id, test));
        assert_eq!(published.content.expect("a content").test, test);
        let request = GetReportRequest { campaign_id: campaign.id.clone(), ..Default::default() };
        let report = world.reports().get_report(world.ours(request)).await.expect("a report");
        assert_eq!(report.into_inner().test, test);
    }
    // It stays one, whoever pauses and resumes it, and by whichever way.
    let id = tried.id.clone();
    campaigns.pause_campaign(world.ours(PauseCampaignRequest { id: id.clone() })).await.expect("p");
    let on = Campaign { id: id.clone(), active: true, ..Campaign::default() };
    let update_mask = Some(FieldMask { paths: vec!["active".into()] });
    let request = UpdateCampaignRequest { campaign: Some(on), update_mask };
    let resumed = campaigns.update_campaign(world.ours(request)).await.expect("the same");
    assert!(resumed.into_inner().test);
    let request = with_key(ResumeCampaignRequest { id }, &key);
    let resumed = campaigns.resume_campaign(request).await.expect("resumed").into_inner();
    assert!(resumed.campaign.expect("a campaign").test);
}

#[tokio::test]
async fn a_test_key_gets_at_no_gateway_by_another_way() {
    let world = World::new().await;
    world.everyone_obeys();
    let made = create_test(&world).await;
    let (key, id) = (made.api_key, made.key.expect("a key").id);
    let request = with_key(CreateKeyRequest { name: "real".into(), test: false }, &key);
    let refused = world.keys().create_key(request).await.expect_err("no other key");
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "TEST_KEY".into()));
    let first = list(&world, &world.key).await[0].id.clone();
    let request = with_key(RotateKeyRequest { id: first }, &key);
    let refused = world.keys().rotate_key(request).await.expect_err("it would be shown");
    assert_eq!(reason(&refused), "TEST_KEY");
    let request = with_key(CreateKeyRequest { name: "more".into(), test: true }, &key);
    assert!(
        world.keys().create_key(request).await.expect("made").into_inner().key.expect("k").test
    );
    let rotated = rotate(&world, &id).await.expect("rotated");
    assert!(rotated.key.expect("a key").test && rotated.api_key.starts_with("crl_test_"));
    let listed: Vec<bool> = list(&world, &world.key).await.iter().map(|key| key.test).collect();
    assert_eq!(listed, [false, true, true]);

    let key = rotated.api_key;
    let id = world.started().await.id;
    let pause = PauseCampaignRequest { id: id.clone() };
    world
        .campaigns()
        .pause_campaign(with_key(pause, &key))
        .await
        .expect("it may stop what is real");
    let resume = || ResumeCampaignRequest { id: id.clone() };
    let refused = world.campaigns().resume_campaign(with_key(resume(), &key)).await;
    assert_eq!(reason(&refused.expect_err("its messages would leave")), "TEST_KEY");
    let off = |active| Campaign { id: id.clone(), active, ..Campaign::default() };
    for active in [false, true] {
        let update_mask = Some(FieldMask { paths: vec!["active".into()] });
        let request = UpdateCampaignRequest { campaign: Some(off(active)), update_mask };
        let switched = world.campaigns().update_campaign(with_key(request, &key)).await;
        assert_eq!(switched.is_err(), active, "{switched:?}");
    }
    world.campaigns().resume_campaign(world.ours(resume())).await.expect("by another key");
}
