use carillon_contracts::{
    campaign::v1::{
        GetOrganisationRequest, Organisation, SetSmtpServerRequest, SmtpServer, SmtpThrottle,
        SmtpTls, TestSmtpServerRequest, TestSmtpServerResponse,
    },
    ids::OrganisationId,
};
use carillon_tenancy::{SMTP_PASSWORD, secret_of};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{PLATFORM, World, with_key, wrapping_key};

fn server() -> SmtpServer {
    SmtpServer {
        host: "smtp.cafe.example".into(),
        port: 587,
        user: "cafe".into(),
        from: "news@cafe.example".into(),
        ..SmtpServer::default()
    }
}

async fn set(
    world: &World,
    smtp: SmtpServer,
    password: Option<&str>,
) -> Result<Organisation, Status> {
    let request =
        SetSmtpServerRequest { smtp: Some(smtp), password: password.map(ToOwned::to_owned) };
    world.organisations().set_smtp_server(world.ours(request)).await.map(Response::into_inner)
}

async fn shown(world: &World) -> Organisation {
    let request = world.ours(GetOrganisationRequest {});
    world.organisations().get_organisation(request).await.expect("shown").into_inner()
}

async fn test(world: &World, to: &str) -> Result<TestSmtpServerResponse, Status> {
    let request = world.ours(TestSmtpServerRequest { to: to.into() });
    world.organisations().test_smtp_server(request).await.map(Response::into_inner)
}

async fn password_elsewhere(world: &World, id: OrganisationId) -> Option<String> {
    let document = world.document(id).await;
    let secret = secret_of(&wrapping_key(), id, SMTP_PASSWORD, &document).expect("it opens");
    secret.map(|secret| String::from_utf8(secret).expect("text"))
}

#[tokio::test]
async fn a_server_is_known_everywhere_when_answered_and_its_password_is_sealed() {
    let world = World::new().await;
    let set = set(&world, server(), Some("s3cret")).await.expect("set");
    let smtp = set.smtp.clone().expect("a server");
    assert_eq!((smtp.port, smtp.tls(), smtp.connections), (587, SmtpTls::Starttls, 16));
    assert_eq!(set.in_effect, Some(true));
    let set = Organisation { in_effect: None, ..set };
    assert_eq!(shown(&world).await, set);
    assert_eq!(world.known_to_others(world.organisation).await, Some(set.clone()));
    assert_eq!(password_elsewhere(&world, world.organisation).await.as_deref(), Some("s3cret"));
    let document = world.document(world.organisation).await;
    assert!(!format!("{document:?}{set:?}").contains("s3cret"), "nowhere in clear");
    let other = OrganisationId::random();
    let opened = secret_of(&wrapping_key(), other, SMTP_PASSWORD, &document);
    assert!(opened.is_err(), "it opens for its own organisation alone");
}

#[tokio::test]
async fn a_server_that_not_every_service_knows_is_stored_and_not_yet_in_effect() {
    let mut world = World::alone().await;
    (world.organisation, world.key) = world.create_organisation("Café Zoë").await;
    for password in [Some("s3cret"), None] {
        let stored = set(&world, server(), password).await.expect("stored");
        assert_eq!(stored.in_effect, Some(false), "nobody listens");
    }
    world.everyone_listens();
    let known = set(&world, server(), None).await.expect("the same");
    assert_eq!(known.in_effect, Some(true));
}

#[tokio::test]
async fn a_password_is_kept_for_its_server_and_needed_for_another() {
    let world = World::new().await;
    let status = set(&world, server(), None).await.expect_err("no password yet");
    assert_eq!(
        status.message(),
        "password: is missing; give it once, it is kept sealed and never shown"
    );
    set(&world, server(), Some("s3cret")).await.expect("set");
    let renamed = SmtpServer { from_name: "Café Zoë".into(), ..server() };
    let set_again = set(&world, renamed.clone(), None).await.expect("set");
    assert_eq!(set_again.smtp.expect("a server").from_name, "Café Zoë");
    assert_eq!(password_elsewhere(&world, world.organisation).await.as_deref(), Some("s3cret"));

    let elsewhere = SmtpServer { host: "smtp.other.example".into(), ..renamed.clone() };
    let status = set(&world, elsewhere.clone(), None).await.expect_err("another server");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "password: is not kept for another server, port, user or security; give it again"
    );
    assert_eq!(shown(&world).await.smtp.expect("a server").host, "smtp.cafe.example");
    set(&world, elsewhere.clone(), Some("other")).await.expect("set");
    assert_eq!(password_elsewhere(&world, world.organisation).await.as_deref(), Some("other"));

    let open = SmtpServer { user: String::new(), ..elsewhere };
    let status = set(&world, open.clone(), Some("x")).await.expect_err("whose password?");
    assert_eq!(
        status.message(),
        "smtp.user: is missing beside a password; give the user whose it is"
    );
    set(&world, open, None).await.expect("set");
    assert_eq!(password_elsewhere(&world, world.organisation).await, None);
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_and_nothing_is_changed() {
    let world = World::new().await;
    let throttle = SmtpThrottle { mails: 1_000_001, ..SmtpThrottle::default() };
    let wrong = SmtpServer {
        host: "not a host".into(),
        port: 70_000,
        from: "nobody".into(),
        throttle: Some(throttle),
        connections: 65,
        ..server()
    };
    let status = set(&world, wrong, Some("s3cret")).await.expect_err("wrong");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("fields").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| &*violation.field).collect();
    assert_eq!(
        fields,
        ["smtp.host", "smtp.port", "smtp.from", "smtp.throttle.mails", "smtp.connections"]
    );
    for (password, rule) in [
        (
            "",
            "is empty; give the secret itself, or leave the field out to keep the one that is set",
        ),
        ("a\nb", "has a line break or another control character; give the secret alone"),
    ] {
        let status = set(&world, server(), Some(password)).await.expect_err("wrong");
        assert_eq!(status.message(), format!("password: {rule}"));
    }
    let request = world.ours(SetSmtpServerRequest::default());
    let status = world.organisations().set_smtp_server(request).await.expect_err("missing");
    assert_eq!(status.message(), "smtp: is missing; give at least smtp.host and smtp.from");
    assert_eq!(shown(&world).await.smtp, None);
}

#[tokio::test]
async fn settings_of_one_organisation_are_not_anothers() {
    let world = World::new().await;
    let (other, other_key) = world.create_organisation("Other").await;
    set(&world, server(), Some("s3cret")).await.expect("set");
    let request = with_key(GetOrganisationRequest {}, &other_key);
    let theirs = world.organisations().get_organisation(request).await.expect("shown");
    assert_eq!(theirs.into_inner().smtp, None);
    assert_eq!(password_elsewhere(&world, other).await, None);
    let request = SetSmtpServerRequest { smtp: Some(server()), password: Some("x".into()) };
    let denied = world.organisations().set_smtp_server(with_key(request, PLATFORM)).await;
    assert_eq!(denied.expect_err("denied").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_dispatcher_tests_what_is_stored() {
    let world = World::new().await;
    let status = test(&world, "").await.expect_err("nothing to test");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "NO_SMTP_SERVER");
    let stored = set(&world, server(), Some("s3cret")).await.expect("set").smtp;
    let answer = TestSmtpServerResponse {
        ok: false,
        code: "authentication_refused".into(),
        message: "smtp.user: 535 from smtp.cafe.example".into(),
    };
    world.smtp_tests.will_answer(Ok(answer.clone()));
    assert_eq!(test(&world, "zoe@cafe.example").await.expect("tested"), answer);
    let given = world.smtp_tests.given().pop().expect("asked");
    assert_eq!(given.organisation_id, world.organisation.uuid().as_bytes());
    assert_eq!((given.smtp, given.to.as_str()), (stored, "zoe@cafe.example"));
    let sealed = given.password.expect("sealed");
    let opened =
        carillon_tenancy::open_secret(&wrapping_key(), world.organisation, SMTP_PASSWORD, &sealed);
    assert_eq!(opened.expect("it opens"), b"s3cret");
}

#[tokio::test]
async fn a_test_that_can_not_be_made_says_so() {
    let world = World::new().await;
    set(&world, server(), Some("s3cret")).await.expect("set");
    let status = test(&world, "zoe").await.expect_err("wrong");
    assert_eq!(
        status.message(),
        "to: is not an e-mail address; give one such as you@cafe.example, or none"
    );
    world.smtp_tests.will_answer(Err(Status::unavailable("connection refused")));
    let status = test(&world, "").await.expect_err("down");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(
        status.message(),
        "settings can't be tested at the moment; try again in a few seconds"
    );
}
