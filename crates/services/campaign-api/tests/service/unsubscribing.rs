use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use carillon_contracts::{
    campaign::v1::{Organisation, UpdateOrganisationRequest},
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_sealing::{Linked, Links, WrappingKey};
use prost_types::FieldMask;
use tower::ServiceExt as _;

use crate::world::{PUBLIC_URL, World, wrapping_key};

const FORM: &str = "application/x-www-form-urlencoded";
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

fn linked(world: &World, channel: Channel) -> Linked {
    Linked {
        organisation: world.organisation.uuid(),
        customer: CustomerId::of(world.organisation, "C1").uuid(),
        channel: u8::try_from(i32::from(channel)).expect("small"),
    }
}

/// The path of a link that stood in a message.
fn path(world: &World, channel: Channel) -> String {
    let url = Links::new(PUBLIC_URL, &wrapping_key()).unsubscribe_url(linked(world, channel));
    url.strip_prefix(PUBLIC_URL).expect("below the address").to_owned()
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    page: String,
}

async fn call(world: &World, method: &str, path: &str, kind: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let answer = world.http.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let page = to_bytes(body, 1 << 20).await.expect("a page");
    let page = String::from_utf8(page.to_vec()).expect("text");
    Answer { status: parts.status, headers: parts.headers, page }
}

#[tokio::test]
async fn looking_at_a_link_changes_nothing() {
    let world = World::new().await;
    let path = path(&world, Channel::Email);
    let shown = call(&world, "GET", &path, FORM, "").await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.page.contains("stop receiving e-mails from <strong>Café Zoë</strong>"));
    assert!(shown.page.contains("<form method=\"post\">"));
    assert!(!shown.page.contains("C1"), "nobody stands in it");
    let head = call(&world, "HEAD", &path, FORM, "").await;
    assert_eq!((head.status, head.page.as_str()), (StatusCode::OK, ""));
    assert!(world.customers.opted_out().is_empty());
}

#[tokio::test]
async fn a_post_unsubscribes_whoever_sends_it() {
    let world = World::new().await;
    let customer = CustomerId::of(world.organisation, "C1");
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
                     One-Click\r\n--b--\r\n";
    for (channel, kind, body) in [
        (Channel::Email, FORM, ONE_CLICK),
        (Channel::Email, "multipart/form-data; boundary=b", multipart),
        (Channel::Sms, FORM, ONE_CLICK),
    ] {
        let done = call(&world, "POST", &path(&world, channel), kind, body).await;
        assert_eq!(done.status, StatusCode::OK);
        assert!(done.page.contains("You are unsubscribed"), "{}", done.page);
        let told = world.customers.opted_out().pop().expect("told");
        assert_eq!(told.organisation_id, world.organisation.uuid().as_bytes());
        assert_eq!(told.customer_id, customer.uuid().as_bytes());
        assert_eq!(told.channel(), channel);
    }
    assert_eq!(world.customers.opted_out().len(), 3);
}

#[tokio::test]
async fn a_page_says_plainly_where_an_opt_out_does_not_hold_yet() {
    let world = World::new().await;
    let path = path(&world, Channel::Email);
    let held = call(&world, "POST", &path, FORM, ONE_CLICK).await;
    assert!(held.page.contains("<strong>Café Zoë</strong> will send you no more e-mails"));
    assert!(!held.page.contains("will take effect in a moment"), "{}", held.page);
    world.customers.set_late();
    let stored = call(&world, "POST", &path, FORM, ONE_CLICK).await;
    assert_eq!(stored.status, StatusCode::OK);
    assert!(stored.page.contains("You are unsubscribed"), "{}", stored.page);
    assert!(stored.page.contains("is stored and will take effect in a moment"), "{}", stored.page);
    assert_eq!(world.customers.opted_out().len(), 2);
}

#[tokio::test]
async fn a_post_without_the_field_changes_nothing() {
    let world = World::new().await;
    let path = path(&world, Channel::Email);
    for body in ["", "a=b", "List-Unsubscribe=Maybe"] {
        let answer = call(&world, "POST", &path, FORM, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
    let long = "a".repeat(5_000);
    let answer = call(&world, "POST", &path, FORM, &long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = call(&world, "DELETE", &path, FORM, "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(world.customers.opted_out().is_empty());
}

#[tokio::test]
async fn a_link_that_carillon_did_not_make_is_a_page_not_found() {
    let world = World::new().await;
    let good = path(&world, Channel::Email);
    let cut = &good[..good.len() - 2];
    let of = |key: u8, linked: Linked| {
        format!("/u/{}", Links::new(PUBLIC_URL, &WrappingKey::new([key; 32])).token(linked))
    };
    let theirs = of(8, linked(&world, Channel::Email));
    let no_channel = of(7, Linked { channel: 9, ..linked(&world, Channel::Email) });
    let nobody = OrganisationId::random().uuid();
    let no_organisation = of(7, Linked { organisation: nobody, ..linked(&world, Channel::Email) });
    for path in [cut, &theirs, &no_channel, &no_organisation, "/u/x", "/u/%C3%A9"] {
        for (method, body) in [("GET", ""), ("POST", ONE_CLICK)] {
            let answer = call(&world, method, path, FORM, body).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert!(answer.page.contains("This link does not work"));
        }
    }
    assert!(world.customers.opted_out().is_empty());
}

#[tokio::test]
async fn a_customer_is_asked_to_try_again_while_customers_are_out_of_reach() {
    let world = World::new().await;
    let path = path(&world, Channel::Email);
    world.customers.set_down(true);
    let answer = call(&world, "POST", &path, FORM, ONE_CLICK).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers[header::RETRY_AFTER], "60");
    assert_eq!(call(&world, "GET", &path, FORM, "").await.status, StatusCode::OK);
    world.customers.set_down(false);
    let answer = call(&world, "POST", &path, FORM, ONE_CLICK).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.customers.opted_out().len(), 1);
}

#[tokio::test]
async fn pages_are_safe_to_show() {
    let world = World::new().await;
    let organisation =
        Organisation { name: "<script>alert('x')</script>".into(), ..Organisation::default() };
    let request = UpdateOrganisationRequest {
        organisation: Some(organisation),
        update_mask: Some(FieldMask { paths: vec!["name".into()] }),
    };
    world.organisations().update_organisation(world.ours(request)).await.expect("renamed");
    let path = path(&world, Channel::Email);
    for (method, body) in [("GET", ""), ("POST", ""), ("POST", ONE_CLICK)] {
        let answer = call(&world, method, &path, FORM, body).await;
        assert!(!answer.page.contains("<script"), "{}", answer.page);
        assert!(answer.page.contains("&lt;script&gt;"));
        let header = |name: &str| answer.headers[name].to_str().expect("text").to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'none';"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}
