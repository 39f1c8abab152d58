use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{
        ConsentDefault, CreateOrganisationRequest, CreateOrganisationResponse,
        GetOrganisationRequest, Organisation, UpdateOrganisationRequest,
    },
    events::v1::event::Body,
};
use carillon_tenancy::hash_key;
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{PLATFORM, World, next, with_key};

fn cafe() -> Organisation {
    Organisation {
        name: "Café Zoë".into(),
        time_zone: "Europe/Amsterdam".into(),
        default_region: "NL".into(),
        subscribe_default: true,
        ..Organisation::default()
    }
}

async fn create(
    world: &World,
    key: &str,
    organisation: Organisation,
    request_id: &str,
) -> Result<CreateOrganisationResponse, Status> {
    let request = CreateOrganisationRequest {
        organisation: Some(organisation),
        request_id: request_id.into(),
    };
    let created = world.organisations().create_organisation(with_key(request, key)).await;
    created.map(Response::into_inner)
}

async fn update(
    world: &World,
    organisation: Organisation,
    paths: &[&str],
) -> Result<Organisation, Status> {
    let paths = paths.iter().map(ToString::to_string).collect();
    let request = UpdateOrganisationRequest {
        organisation: Some(organisation),
        update_mask: Some(FieldMask { paths }),
    };
    let updated = world.organisations().update_organisation(world.ours(request)).await;
    updated.map(Response::into_inner)
}

async fn get(world: &World, key: &str) -> Result<Organisation, Status> {
    let request = with_key(GetOrganisationRequest {}, key);
    world.organisations().get_organisation(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn an_organisation_is_in_effect_once_every_service_knows_it() {
    let world = World::alone().await;
    let early = create(&world, PLATFORM, cafe(), "early").await.expect("created");
    assert!(!early.in_effect, "nobody listens yet");
    let again = create(&world, PLATFORM, cafe(), "early").await.expect("the same");
    assert!(!again.in_effect, "still nobody");
    world.everyone_listens();
    let again = create(&world, PLATFORM, cafe(), "early").await.expect("the same");
    assert!(again.in_effect);
    let created = create(&world, PLATFORM, cafe(), "").await.expect("created");
    assert!(created.in_effect);
    assert!(created.api_key.starts_with("crl_"));
    let stored = created.organisation.expect("an organisation");
    assert_eq!(stored.consent_default(), ConsentDefault::NotSpecified);
    assert_eq!(get(&world, &created.api_key).await.expect("its own"), stored);
}

#[tokio::test]
async fn the_document_carries_the_settings_and_the_hash_of_the_key() {
    let world = World::alone().await;
    let mut queue = world.queue(topology::BILLING, topology::ORGANISATION_CHANGED).await;
    let created = create(&world, PLATFORM, cafe(), "").await.expect("created");
    let event = next(&mut queue).await;
    let Some(Body::OrganisationChanged(document)) = event.body else { panic!("another event") };
    assert_eq!(document.version, 1);
    assert_eq!(document.keys.len(), 1);
    assert_eq!(document.keys[0].hash, hash_key(&created.api_key).to_vec());
    assert_eq!(document.organisation, created.organisation);
}

#[tokio::test]
async fn only_the_platform_creates_organisations_and_it_does_nothing_inside_one() {
    let world = World::new().await;
    let denied = create(&world, &world.key, cafe(), "").await.expect_err("denied");
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(
        denied.message(),
        "api-key: this is an organisation's key, and only the platform's creates organisations; \
         set --api-key or CARILLON_API_KEY to that"
    );
    let unknown = create(&world, "crl_platform_other", cafe(), "").await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::Unauthenticated);
    let unknown = create(&world, "crl_0", cafe(), "").await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::Unauthenticated);
    let inside = get(&world, PLATFORM).await.expect_err("denied");
    assert_eq!(inside.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_same_request_creates_one_organisation_and_shows_its_key_once() {
    let world = World::new().await;
    let first = create(&world, PLATFORM, cafe(), "signup-1").await.expect("created");
    let again = create(&world, PLATFORM, cafe(), "signup-1").await.expect("the same");
    assert_eq!(again.organisation, first.organisation);
    assert_eq!(again.api_key, "");
    let other = Organisation { name: "Other".into(), ..cafe() };
    let reused = create(&world, PLATFORM, other, "signup-1").await.expect_err("reused");
    assert_eq!(reused.code(), Code::AlreadyExists);
    assert_eq!(reused.get_details_error_info().expect("a reason").reason, "REQUEST_ID_REUSED");
    assert_eq!(
        reused.message(),
        "request_id: 'signup-1' already made an organisation from another body; use another \
         request_id for another one"
    );
}

#[tokio::test]
async fn every_wrong_setting_is_named_at_once() {
    let world = World::new().await;
    let wrong = Organisation { time_zone: "Amsterdam".into(), ..Organisation::default() };
    let status = create(&world, PLATFORM, wrong, "").await.expect_err("wrong");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "name: is missing; give 1 to 100 characters\n\
         time_zone: 'Amsterdam' is not an IANA time zone; did you mean 'Europe/Amsterdam'?"
    );
    assert_eq!(status.get_details_bad_request().expect("fields").field_violations.len(), 2);
}

#[tokio::test]
async fn an_update_sets_what_the_mask_names_and_is_known_everywhere_when_answered() {
    let world = World::new().await;
    let given = Organisation { require_consent: true, name: "Ignored".into(), ..cafe() };
    let updated = update(&world, given, &["require_consent", "default_region"]).await;
    let given = Organisation { low_balance: 500, paused: true, ..updated.expect("updated") };
    let updated = update(&world, given, &["low_balance", "paused"]).await.expect("updated");
    assert!(updated.paused && updated.low_balance == 500);
    assert_eq!((updated.name.as_str(), updated.default_region.as_str()), ("Café Zoë", "NL"));
    assert!(updated.require_consent && !updated.subscribe_default);
    assert_eq!(updated.in_effect, Some(true));
    let updated = Organisation { in_effect: None, ..updated };
    assert_eq!(get(&world, &world.key).await.expect("its own key"), updated);
    assert_eq!(world.known_to_others(world.organisation).await, Some(updated));
}

#[tokio::test]
async fn a_wrong_update_changes_nothing() {
    let world = World::new().await;
    let message =
        |status: Result<Organisation, Status>| status.expect_err("wrong").message().to_owned();
    assert_eq!(
        message(update(&world, cafe(), &["timezone"]).await),
        "update_mask: 'timezone' is not a field that can be set; did you mean 'time_zone'?"
    );
    assert_eq!(
        message(update(&world, cafe(), &[]).await),
        "update_mask: is missing; name what to set: name, time_zone, default_region, \
         consent_default, require_consent, subscribe_default, double_opt_in, low_balance, paused, \
         markets, rates"
    );
    let wrong = Organisation { default_region: "UK".into(), ..cafe() };
    assert_eq!(
        message(update(&world, wrong, &["default_region"]).await),
        "default_region: 'UK' is not an ISO 3166-1 alpha-2 region; did you mean 'GB'?"
    );
    let wrong = Organisation { low_balance: -1, ..cafe() };
    assert_eq!(
        message(update(&world, wrong, &["low_balance"]).await),
        "low_balance: -1 is not from 0 to 1000000000; give credits, or 0 for no alert"
    );
    assert_eq!(get(&world, &world.key).await.expect("its own").default_region, "");
    let wrong = Organisation { markets: vec!["NL".into(), "EU".into()], ..cafe() };
    assert_eq!(
        message(update(&world, wrong, &["markets"]).await),
        "markets: 'EU' is not an ISO 3166-1 alpha-2 region; give two upper-case letters, such as \
         NL, or leave it out"
    );
    let wrong = Organisation { rates: [("NL".to_owned(), 0)].into(), ..cafe() };
    assert_eq!(
        message(update(&world, wrong, &["rates"]).await),
        "rates: 0 for 'NL' is not from 1 to 100; give the credits that a part costs"
    );
    let made = Organisation { replies_url: "https://elsewhere.example/".into(), ..cafe() };
    assert_eq!(
        message(update(&world, made, &["replies_url"]).await),
        "update_mask: 'replies_url' is not a field that can be set; name one of name, time_zone, \
         default_region, consent_default, require_consent, subscribe_default, double_opt_in, \
         low_balance, paused, markets, rates"
    );
}

#[tokio::test]
async fn a_change_that_not_every_service_knows_is_stored_and_not_yet_in_effect() {
    let mut world = World::alone().await;
    (world.organisation, world.key) = world.create_organisation("Café Zoë").await;
    let paused = Organisation { paused: true, in_effect: Some(true), ..Organisation::default() };
    let stored = update(&world, paused.clone(), &["paused"]).await.expect("stored");
    assert_eq!((stored.paused, stored.in_effect), (true, Some(false)), "nobody listens");
    let again = update(&world, paused.clone(), &["paused"]).await.expect("the same");
    assert_eq!(again.in_effect, Some(false), "what was stored then still is not");
    assert_eq!(get(&world, &world.key).await.expect("its own").in_effect, None);
    world.everyone_listens();
    let again = update(&world, paused, &["paused"]).await.expect("the same");
    assert_eq!(again.in_effect, Some(true));
}

#[tokio::test]
async fn an_organisation_named_in_a_field_must_be_the_keys_own() {
    let world = World::new().await;
    let (other, _) = world.create_organisation("Other").await;
    let given =
        |id: String| Organisation { id, name: "Mine now".into(), ..Organisation::default() };
    let denied = update(&world, given(other.to_string()), &["name"]).await.expect_err("denied");
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(
        denied.message(),
        "organisation.id: names another organisation than the key's; leave it out"
    );
    let reason = denied.get_details_error_info().expect("a reason").reason;
    assert_eq!(reason, "OTHER_ORGANISATION");
    for id in [world.organisation, other] {
        let known = world.known_to_others(id).await.expect("known");
        assert_ne!(known.name, "Mine now");
    }
    let own = given(world.organisation.to_string());
    assert_eq!(update(&world, own, &["name"]).await.expect("its own").name, "Mine now");
}

#[tokio::test]
async fn rates_are_set_and_told_and_given_up() {
    let world = World::new().await;
    let of = |rates: &[(&str, u32)]| Organisation {
        rates: rates.iter().map(|(code, rate)| ((*code).to_owned(), *rate)).collect(),
        ..Organisation::default()
    };
    let dear = of(&[("DE", 2), ("US", 3)]);
    let updated = update(&world, dear.clone(), &["rates"]).await.expect("updated");
    assert_eq!(updated.rates, dear.rates);
    let updated = Organisation { in_effect: None, ..updated };
    assert_eq!(get(&world, &world.key).await.expect("its own"), updated);
    assert_eq!(world.known_to_others(world.organisation).await, Some(updated));
    let plain = update(&world, of(&[]), &["rates"]).await.expect("updated");
    assert!(plain.rates.is_empty());
    let given = Organisation { rates: dear.rates.clone(), ..cafe() };
    let created = create(&world, PLATFORM, given, "").await.expect("created");
    assert_eq!(get(&world, &created.api_key).await.expect("its own").rates, dear.rates);
}

#[tokio::test]
async fn markets_are_set_and_told_and_given_up() {
    let world = World::new().await;
    let of = |markets: &[&str]| Organisation {
        markets: markets.iter().map(ToString::to_string).collect(),
        ..Organisation::default()
    };
    let updated = update(&world, of(&["NL", "DE", "NL"]), &["markets"]).await.expect("updated");
    assert_eq!(updated.markets, ["DE", "NL"]);
    let updated = Organisation { in_effect: None, ..updated };
    assert_eq!(get(&world, &world.key).await.expect("its own"), updated);
    assert_eq!(world.known_to_others(world.organisation).await, Some(updated));
    let everywhere = update(&world, of(&[]), &["markets"]).await.expect("updated");
    assert_eq!(everywhere.markets, [""; 0]);
    let given = Organisation { markets: vec!["BE".into()], ..cafe() };
    let created = create(&world, PLATFORM, given, "").await.expect("created");
    assert_eq!(get(&world, &created.api_key).await.expect("its own").markets, ["BE"]);
}
