use carillon_contracts::campaign::v1::{
    GetOrganisationRequest, HttpGateway, Organisation, SetSmsGatewayRequest, SmppGateway,
    SmsGateway, TwilioGateway, sms_gateway::Kind,
};
use carillon_sealing::ReplyLinks;
use carillon_tenancy::{SMS_STANDBY_TOKEN, SMS_TOKEN, secret_of};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{PUBLIC_URL, World, wrapping_key};

fn gateway(kind: Kind) -> SmsGateway {
    SmsGateway { kind: Some(kind), from: "+15035550100".into(), rate: 50 }
}

fn twilio(base_url: &str) -> SmsGateway {
    gateway(Kind::Twilio(TwilioGateway { base_url: base_url.into(), account: "AC123".into() }))
}

fn http(authorization: &str) -> SmsGateway {
    gateway(Kind::Http(HttpGateway {
        url: "https://sms.provider.example/send".into(),
        headers: [("Authorization".to_owned(), authorization.to_owned())].into(),
        ..HttpGateway::default()
    }))
}

fn smpp(system_id: &str) -> SmsGateway {
    let url = "smpp://smsc.provider.example".into();
    gateway(Kind::Smpp(SmppGateway { url, system_id: system_id.into(), ..SmppGateway::default() }))
}

async fn set(world: &World, sms: SmsGateway, token: Option<&str>) -> Result<Organisation, Status> {
    change(world, Some(sms), token, false).await
}

async fn set_standby(
    world: &World,
    sms: Option<SmsGateway>,
    token: Option<&str>,
) -> Result<Organisation, Status> {
    change(world, sms, token, true).await
}

async fn change(
    world: &World,
    sms: Option<SmsGateway>,
    token: Option<&str>,
    standby: bool,
) -> Result<Organisation, Status> {
    let request = SetSmsGatewayRequest { sms, token: token.map(ToOwned::to_owned), standby };
    world.organisations().set_sms_gateway(world.ours(request)).await.map(Response::into_inner)
}

async fn token_elsewhere(world: &World) -> Option<String> {
    secret_elsewhere(world, SMS_TOKEN).await
}

async fn secret_elsewhere(world: &World, name: &str) -> Option<String> {
    let id = world.organisation;
    let secret = secret_of(&wrapping_key(), id, name, &world.document(id).await);
    secret.expect("it opens").map(|secret| String::from_utf8(secret).expect("text"))
}

#[tokio::test]
async fn a_gateway_is_known_everywhere_when_answered_and_its_token_is_sealed() {
    let world = World::new().await;
    let stored = set(&world, twilio(""), Some("t0ken")).await.expect("set");
    let Some(Kind::Twilio(kind)) = stored.sms.clone().expect("a gateway").kind else {
        panic!("another kind")
    };
    assert_eq!(kind.base_url, "https://api.twilio.com");
    assert_eq!(stored.in_effect, Some(true));
    let told = Organisation { replies_url: String::new(), in_effect: None, ..stored.clone() };
    assert_eq!(world.known_to_others(world.organisation).await, Some(told));
    assert_eq!(token_elsewhere(&world).await.as_deref(), Some("t0ken"));
    let document = world.document(world.organisation).await;
    assert!(!format!("{document:?}{stored:?}").contains("t0ken"), "nowhere in clear");
}

#[tokio::test]
async fn a_token_stays_with_its_provider_and_goes_with_its_use() {
    let world = World::new().await;
    let status = set(&world, twilio(""), None).await.expect_err("no token yet");
    assert_eq!(
        status.message(),
        "token: is missing; give it once, it is kept sealed and never shown"
    );
    set(&world, twilio(""), Some("t0ken")).await.expect("set");
    let faster = SmsGateway { rate: 100, ..twilio("") };
    assert_eq!(set(&world, faster, None).await.expect("set").sms.expect("a gateway").rate, 100);
    assert_eq!(token_elsewhere(&world).await.as_deref(), Some("t0ken"));
    let status = set(&world, twilio("https://else.example"), None).await.expect_err("elsewhere");
    assert_eq!(
        status.message(),
        "token: is not kept for another provider or account; give it again"
    );

    set(&world, http("Bearer {token}"), Some("other")).await.expect("set");
    assert_eq!(token_elsewhere(&world).await.as_deref(), Some("other"));
    let status = set(&world, http("Basic abc"), Some("x")).await.expect_err("of no use");
    assert_eq!(
        status.message(),
        "token: is used by nothing; write {token} where it belongs in sms.http, or leave it out"
    );
    let sandbox = SmsGateway { from: String::new(), ..gateway(Kind::Sandbox(true)) };
    set(&world, sandbox, None).await.expect("set");
    assert_eq!(token_elsewhere(&world).await, None);
}

#[tokio::test]
async fn an_smsc_has_a_password_that_stays_with_its_system_id() {
    let world = World::new().await;
    let status = set(&world, smpp("me"), Some("9letters!")).await.expect_err("too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "token: is no password of SMPP: 8 letters, digits and signs at most, without blanks; ask \
         the provider for another"
    );
    set(&world, smpp("me"), None).await.expect_err("no password yet");
    let stored = set(&world, smpp("me"), Some("hushhush")).await.expect("set");
    let Some(Kind::Smpp(kind)) = stored.sms.clone().expect("a gateway").kind else {
        panic!("another kind")
    };
    assert_eq!((kind.connections, kind.window), (1, 10));
    assert_eq!(stored.replies_url, "", "replies come by the session");
    let told = Organisation { in_effect: None, ..stored };
    assert_eq!(world.known_to_others(world.organisation).await, Some(told));
    let wider = gateway(Kind::Smpp(SmppGateway { window: 50, ..kind.clone() }));
    set(&world, wider, None).await.expect("the same login");
    assert_eq!(token_elsewhere(&world).await.as_deref(), Some("hushhush"));
    let elsewhere = SmppGateway { url: "smpp://else.example".into(), ..kind };
    for other in [smpp("you"), gateway(Kind::Smpp(elsewhere)), twilio("")] {
        let status = set(&world, other, None).await.expect_err("elsewhere");
        assert_eq!(
            status.message(),
            "token: is not kept for another provider or account; give it again"
        );
    }
    let document = world.document(world.organisation).await;
    assert!(!format!("{document:?}").contains("hushhush"), "nowhere in clear");
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let world = World::new().await;
    let wrong = SmsGateway {
        kind: Some(Kind::Http(HttpGateway {
            method: "FETCH".into(),
            url: "https://{to}.example/".into(),
            headers: [("X-Key".to_owned(), "{tokn}".to_owned())].into(),
            id_pointer: "id".into(),
            units_pointer: "parts".into(),
            ..HttpGateway::default()
        })),
        from: "Café".into(),
        rate: 0,
    };
    let status = set(&world, wrong, None).await.expect_err("wrong");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("fields").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| &*violation.field).collect();
    assert_eq!(
        fields,
        [
            "sms.http.method",
            "sms.http.url",
            "sms.http.headers[X-Key]",
            "sms.http.id_pointer",
            "sms.http.units_pointer",
            "sms.from"
        ]
    );
    let request = world.ours(SetSmsGatewayRequest::default());
    let status = world.organisations().set_sms_gateway(request).await.expect_err("missing");
    assert_eq!(status.message(), "sms: is missing; give at least its kind and sms.from");
}

#[tokio::test]
async fn the_same_settings_again_change_nothing() {
    let world = World::new().await;
    set(&world, twilio(""), Some("t0ken")).await.expect("set");
    let version = world.document(world.organisation).await.version;
    set(&world, twilio(""), None).await.expect("the same");
    assert_eq!(world.document(world.organisation).await.version, version);
}

#[tokio::test]
async fn the_address_for_replies_is_that_of_the_kind_and_shown_to_its_own_key() {
    let world = World::new().await;
    let get = async || {
        let request = world.ours(GetOrganisationRequest {});
        world.organisations().get_organisation(request).await.expect("its own").into_inner()
    };
    assert_eq!(get().await.replies_url, "", "there is no gateway");
    let links = ReplyLinks::new(PUBLIC_URL, &wrapping_key());
    let expected = |kind| links.url(kind, world.organisation.uuid());
    let stored = set(&world, twilio(""), Some("t0ken")).await.expect("set");
    assert_eq!(stored.replies_url, expected("twilio"));
    assert_eq!(get().await, Organisation { in_effect: None, ..stored });
    let stored = set(&world, http("Bearer {token}"), Some("other")).await.expect("set");
    assert_eq!(stored.replies_url, expected("http"));
    let sandbox = gateway(Kind::Sandbox(true));
    assert_eq!(set(&world, sandbox, None).await.expect("set").replies_url, "");
}

#[tokio::test]
async fn a_standby_is_another_gateway_with_a_token_of_its_own() {
    let world = World::new().await;
    let standby = |token| set_standby(&world, Some(http("Bearer {token}")), token);
    let status = standby(Some("other")).await.expect_err("for nothing");
    assert_eq!(
        status.message(),
        "standby: has nothing to stand by for; set the gateway itself first"
    );
    set(&world, twilio(""), Some("t0ken")).await.expect("set");
    standby(None).await.expect_err("no token yet");
    let stored = standby(Some("other")).await.expect("set");
    assert_eq!(stored.sms, set(&world, twilio(""), None).await.expect("the same").sms);
    let links = ReplyLinks::new(PUBLIC_URL, &wrapping_key());
    let url = |kind| links.url(kind, world.organisation.uuid());
    assert_eq!((&stored.replies_url, &stored.standby_replies_url), (&url("twilio"), &url("http")));
    let told = Organisation {
        replies_url: String::new(),
        standby_replies_url: String::new(),
        in_effect: None,
        ..stored.clone()
    };
    assert_eq!(world.known_to_others(world.organisation).await, Some(told));
    let tokens = [SMS_TOKEN, SMS_STANDBY_TOKEN].map(|name| secret_elsewhere(&world, name));
    let [first, second] = tokens;
    assert_eq!((first.await.as_deref(), second.await.as_deref()), (Some("t0ken"), Some("other")));

    for wrong in [
        set_standby(&world, Some(twilio("")), Some("t0ken")).await,
        set(&world, http("Basic {token}"), Some("other")).await,
    ] {
        assert_eq!(
            wrong.expect_err("the same twice").message(),
            "sms: is the gateway and its standby at once; give another one, or remove the standby \
             first"
        );
    }
    let status = set_standby(&world, None, Some("other")).await.expect_err("a token for none");
    assert!(status.message().starts_with("token: is used by nothing"), "{status}");
    let stored = set_standby(&world, None, None).await.expect("removed");
    assert_eq!((stored.sms_standby, stored.standby_replies_url.as_str()), (None, ""));
    assert_eq!(secret_elsewhere(&world, SMS_STANDBY_TOKEN).await, None);
    assert_eq!(token_elsewhere(&world).await.as_deref(), Some("t0ken"));
    let version = world.document(world.organisation).await.version;
    set_standby(&world, None, None).await.expect("removed already");
    assert_eq!(world.document(world.organisation).await.version, version);
}
