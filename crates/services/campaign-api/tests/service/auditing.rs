use carillon_broker::{Broker as _, Destination, Publication, topology};
use carillon_contracts::{
    campaign::v1::{
        AuditEntry, Campaign, CancelCampaignRequest, CreateKeyRequest, CreateTemplateRequest,
        DeleteTemplateRequest, HttpGateway, ListAuditEntriesRequest, ListAuditEntriesResponse,
        ListKeysRequest, Organisation, PauseCampaignRequest, ResumeCampaignRequest,
        RevokeKeyRequest, RotateKeyRequest, SetSmsGatewayRequest, SetSmtpServerRequest, SmsGateway,
        SmtpServer, Template, TestCampaignRequest, UpdateCampaignRequest,
        UpdateOrganisationRequest, UpdateTemplateRequest, VerifyAuditEntriesRequest,
        VerifyAuditEntriesResponse, sms_gateway::Kind,
    },
    events::v1::{AuditRecorded, Event, event::Body},
    jobs::v1::{Content, SmsContent},
    ops::v1::{DiscardParkedRequest, ListParkedRequest, ReplayParkedRequest},
    time,
};
use carillon_outbox::parked::park_unnumbered;
use carillon_service_kit::database::{Sql as _, differs};
use carillon_testkit::eventually;
use prost::Message as _;
use prost_types::FieldMask;
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::world::{PLATFORM, World, campaign, with_key};

async fn list(
    world: &World,
    key: &str,
    request: ListAuditEntriesRequest,
) -> Result<ListAuditEntriesResponse, Status> {
    world.audit().list_audit_entries(with_key(request, key)).await.map(Response::into_inner)
}

/// The oldest first.
async fn all(world: &World, key: &str, platform: bool) -> Vec<AuditEntry> {
    let request = ListAuditEntriesRequest { platform, page_size: 1_000, ..Default::default() };
    let mut entries = list(world, key, request).await.expect("listed").entries;
    entries.reverse();
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=entries.len() as i64).collect::<Vec<_>>(), "without gaps");
    entries
}

async fn verify(world: &World, key: &str, platform: bool) -> VerifyAuditEntriesResponse {
    let request = with_key(VerifyAuditEntriesRequest { platform }, key);
    world.audit().verify_audit_entries(request).await.expect("checked").into_inner()
}

fn acts(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.act.as_str()).collect()
}

fn told(entry: &AuditEntry) -> (Value, Value) {
    let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
    (read(&entry.before), read(&entry.after))
}

fn paths(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
}

async fn set(world: &World, organisation: Organisation, path: &str) {
    let request =
        UpdateOrganisationRequest { organisation: Some(organisation), update_mask: paths(&[path]) };
    world.organisations().update_organisation(world.ours(request)).await.expect("set");
}

#[tokio::test]
async fn a_setting_is_written_down_with_what_it_was_and_whose_key_set_it() {
    let world = World::new().await;
    set(&world, Organisation { low_balance: 500, ..Organisation::default() }, "low_balance").await;
    set(&world, Organisation { low_balance: 500, ..Organisation::default() }, "low_balance").await;
    let entries = all(&world, &world.key, false).await;
    assert_eq!(acts(&entries), ["organisation.created", "organisation.updated"]);
    let [created, updated] = &entries[..] else { panic!("two, for the second changed nothing") };
    assert_eq!(told(updated), (json!({ "low_balance": 0 }), json!({ "low_balance": 500 })));
    assert_eq!(updated.key_prefix, world.key[..12]);
    assert_eq!(updated.time, Some(time::to_wire(world.clock.now())));
    let keys = world.keys().list_keys(world.ours(ListKeysRequest {})).await.expect("listed");
    assert_eq!(updated.key_id, keys.into_inner().keys[0].id);
    assert_eq!((created.key_id.as_str(), created.key_prefix.as_str()), ("", "crl_platform_test"));
    assert_eq!(told(created).1["name"], "Café Zoë");
}

#[tokio::test]
async fn secrets_are_written_down_as_set_changed_and_removed() {
    let world = World::new().await;
    let set_smtp = async |user: &str, password: Option<&str>| {
        let smtp = SmtpServer {
            host: "smtp.cafe.example".into(),
            user: user.into(),
            from: "news@cafe.example".into(),
            ..SmtpServer::default()
        };
        let password = password.map(str::to_owned);
        let request = world.ours(SetSmtpServerRequest { smtp: Some(smtp), password });
        world.organisations().set_smtp_server(request).await.expect("set");
    };
    set_smtp("cafe", Some("hunter2")).await;
    set_smtp("cafe", Some("hunter3")).await;
    set_smtp("cafe", None).await;
    set_smtp("", None).await;
    let http = HttpGateway {
        url: "https://sms.example/send?key=hunter2".into(),
        headers: [("Authorization".to_owned(), "Bearer hunter2 {token}".to_owned())].into(),
        ..HttpGateway::default()
    };
    let sms = SmsGateway { kind: Some(Kind::Http(http)), from: "Cafe".into(), rate: 0 };
    let request = SetSmsGatewayRequest {
        sms: Some(sms),
        token: Some("hunter4".into()),
        ..SetSmsGatewayRequest::default()
    };
    world.organisations().set_sms_gateway(world.ours(request)).await.expect("set");
    let entries = all(&world, &world.key, false).await;
    let words: Vec<Value> =
        entries[1..4].iter().map(|entry| told(entry).1["smtp.password"].clone()).collect();
    assert_eq!(words, ["set", "changed", "removed"]);
    assert_eq!(
        told(&entries[3]),
        (json!({ "smtp.user": "cafe" }), json!({ "smtp.user": "", "smtp.password": "removed" }))
    );
    let sms = told(&entries[4]).1;
    assert_eq!((&sms["sms.token"], &sms["sms.query"]), (&json!("set"), &json!("set")));
    assert_eq!(sms["sms.url"], "https://sms.example/send");
    let text = format!("{entries:?}");
    assert!(!text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn what_becomes_of_a_campaign_is_written_down_act_by_act() {
    let world = World::new().await;
    world.everyone_obeys();
    let draft = world.create(campaign("Monday")).await;
    let id = draft.id.clone();
    let renamed = Campaign { id: id.clone(), name: "Tuesday".into(), ..Campaign::default() };
    let request = UpdateCampaignRequest { campaign: Some(renamed), update_mask: paths(&["name"]) };
    world.campaigns().update_campaign(world.ours(request)).await.expect("updated");
    let test = |request_id: &str| TestCampaignRequest {
        id: id.clone(),
        customer: "C1".into(),
        request_id: request_id.into(),
    };
    let mut campaigns = world.campaigns();
    let tested = campaigns.test_campaign(world.ours(test("t"))).await.expect("sent").into_inner();
    campaigns.test_campaign(world.ours(test("t"))).await.expect("the same");
    world.try_start(&id).await.expect("started");
    world.try_start(&id).await.expect("the same");
    campaigns.pause_campaign(world.ours(PauseCampaignRequest { id: id.clone() })).await.expect("p");
    campaigns.pause_campaign(world.ours(PauseCampaignRequest { id: id.clone() })).await.expect("p");
    campaigns
        .resume_campaign(world.ours(ResumeCampaignRequest { id: id.clone() }))
        .await
        .expect("resumed");
    // Switching it off is another way to pause it.
    let off = Campaign { id: id.clone(), ..Campaign::default() };
    let request = UpdateCampaignRequest { campaign: Some(off), update_mask: paths(&["active"]) };
    campaigns.update_campaign(world.ours(request)).await.expect("switched");
    campaigns
        .cancel_campaign(world.ours(CancelCampaignRequest { id: id.clone() }))
        .await
        .expect("cancelled");
    let entries = all(&world, &world.key, false).await;
    let entries = &entries[1..];
    assert_eq!(
        acts(entries),
        [
            "campaign.created",
            "campaign.updated",
            "campaign.tested",
            "campaign.started",
            "campaign.paused",
            "campaign.resumed",
            "campaign.paused",
            "campaign.cancelled",
        ]
    );
    assert!(entries.iter().all(|entry| entry.subject == format!("campaigns/{id}")));
    assert_eq!(told(&entries[0]).1["content.sms.text"], "Hi {UserName|friend}");
    assert_eq!(told(&entries[1]), (json!({ "name": "Monday" }), json!({ "name": "Tuesday" })));
    assert_eq!(told(&entries[2]).1, json!({ "customer": "C1", "campaign": tested.id }));
    assert_eq!(told(&entries[3]), (json!({ "state": "draft" }), json!({ "state": "running" })));
    assert_eq!(
        told(&entries[6]),
        (
            json!({ "state": "running", "active": true }),
            json!({ "state": "paused", "active": false })
        )
    );
    let whole = verify(&world, &world.key, false).await;
    assert_eq!((whole.entries, whole.broken, whole.hash), (9, 0, entries[7].hash.clone()));
}

#[tokio::test]
async fn keys_and_texts_are_written_down() {
    let world = World::new().await;
    let made = world
        .keys()
        .create_key(world.ours(CreateKeyRequest { name: "till".into(), test: false }))
        .await;
    let made = made.expect("created").into_inner();
    let first = made.key.expect("a key");
    let request = world.ours(RotateKeyRequest { id: first.id.clone() });
    let rotated = world.keys().rotate_key(request).await.expect("rotated").into_inner();
    let second = rotated.key.expect("a key");
    // By the new one itself.
    for _ in 0..2 {
        let request = with_key(RevokeKeyRequest { id: first.id.clone() }, &rotated.api_key);
        world.keys().revoke_key(request).await.expect("gone before, which changes nothing");
    }
    let request = with_key(RevokeKeyRequest { id: second.id.clone() }, &rotated.api_key);
    world.keys().revoke_key(request).await.expect("revoked");
    let saying = |text: &str| {
        let sms = Some(SmsContent { text: text.into(), ..SmsContent::default() });
        Some(Content { sms, ..Content::default() })
    };
    let template = Template { name: "hello".into(), content: saying("Hi"), ..Template::default() };
    let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
    let mut templates = world.templates();
    let id = templates.create_template(world.ours(request)).await.expect("made").into_inner().id;
    let request = UpdateTemplateRequest {
        template: "hello".into(),
        content: saying("Ho"),
        ..UpdateTemplateRequest::default()
    };
    templates.update_template(world.ours(request)).await.expect("saved");
    let request = DeleteTemplateRequest { template: "hello".into() };
    templates.delete_template(world.ours(request)).await.expect("deleted");
    let entries = all(&world, &world.key, false).await;
    assert_eq!(
        acts(&entries[1..]),
        [
            "key.created",
            "key.rotated",
            "key.revoked",
            "template.created",
            "template.updated",
            "template.deleted"
        ]
    );
    let subjects: Vec<&str> = entries[1..].iter().map(|entry| entry.subject.as_str()).collect();
    let [of_first, of_second, of_text] =
        [format!("keys/{}", first.id), format!("keys/{}", second.id), format!("templates/{id}")];
    assert_eq!(subjects, [&of_first, &of_first, &of_second, &of_text, &of_text, &of_text]);
    assert_eq!(told(&entries[1]).1, json!({ "name": "till", "prefix": first.prefix }));
    assert_eq!(told(&entries[2]).1, json!({ "id": second.id, "prefix": second.prefix }));
    assert_eq!(entries[3].key_prefix, second.prefix, "it revoked itself");
    assert_eq!(
        told(&entries[5]),
        (
            json!({ "version": 1, "content.sms.text": "Hi" }),
            json!({ "version": 2, "content.sms.text": "Ho" })
        )
    );
    let text = format!("{entries:?}");
    assert!(!text.contains(&made.api_key) && !text.contains(&rotated.api_key));
}

#[tokio::test]
async fn what_is_refused_or_fails_leaves_no_entry() {
    let world = World::new().await;
    let before = all(&world, &world.key, false).await;
    let _ = world.try_create(Campaign { name: String::new(), ..campaign("x") }).await;
    let inactive = world.create(Campaign { active: false, ..campaign("Monday") }).await;
    world.try_start(&inactive.id).await.expect_err("it is not active");
    let first = world.keys().list_keys(world.ours(ListKeysRequest {})).await.expect("listed");
    let id = first.into_inner().keys[0].id.clone();
    world.keys().revoke_key(world.ours(RevokeKeyRequest { id })).await.expect_err("the last one");
    let entries = all(&world, &world.key, false).await;
    assert_eq!(acts(&entries[before.len()..]), ["campaign.created"]);
}

fn credited(world: &World, amount: i64) -> Body {
    Body::AuditRecorded(AuditRecorded {
        key_id: world.organisation.to_wire(),
        key_prefix: "crl_12345678".into(),
        act: "balance.credited".into(),
        subject: "account".into(),
        before: String::new(),
        after: format!("{{\"amount\":{amount}}}"),
    })
}

/// An event as the producer's relay hands it over, as often as it likes.
async fn deliver(world: &World, producer: &str, seq: i64, body: Body) {
    let stream = topology::stream(producer, topology::AUDIT_RECORDED);
    let queue = topology::event_queue(topology::CAMPAIGN_API, &stream);
    let at = world.clock.now() - jiff::SignedDuration::from_secs(60);
    let event = Event {
        organisation_id: world.organisation.to_wire(),
        occur_time: Some(time::to_wire(at)),
        body: Some(body),
        ..Event::default()
    };
    let header = |name: &str, value: String| (name.to_owned(), value);
    let publication = Publication {
        to: Destination::Queue(queue),
        headers: vec![
            header("carillon-stream", stream),
            header("carillon-seq", seq.to_string()),
            header("carillon-floor", "1".into()),
        ],
        body: event.encode_to_vec().into(),
    };
    world.broker.publish(publication).await.expect("published");
}

#[tokio::test]
async fn what_other_services_tell_is_written_down_once_with_its_own_time() {
    let world = World::new().await;
    for seq in [1, 2, 1, 2, 1] {
        deliver(&world, topology::BILLING, seq, credited(&world, seq)).await;
    }
    deliver(&world, topology::SEGMENT_EVALUATOR, 1, credited(&world, 10)).await;
    deliver(&world, topology::BILLING, 3, credited(&world, 3)).await;
    eventually("all are written down", || async {
        all(&world, &world.key, false).await.len() >= 5
    })
    .await;
    let entries = all(&world, &world.key, false).await;
    let amounts = |entries: &[AuditEntry]| -> Vec<i64> {
        entries.iter().filter_map(|entry| told(entry).1["amount"].as_i64()).collect()
    };
    let own: Vec<i64> = amounts(&entries).into_iter().filter(|amount| *amount < 10).collect();
    assert_eq!(own, [1, 2, 3], "each once, in the order in which it was told");
    assert_eq!(amounts(&entries).len(), 4);
    let entry = &entries[1];
    assert_eq!(
        (entry.key_id.clone(), &*entry.key_prefix),
        (world.organisation.to_string(), "crl_12345678")
    );
    let at = world.clock.now() - jiff::SignedDuration::from_secs(60);
    assert_eq!(entry.time, Some(time::to_wire(at)));
    assert_eq!(verify(&world, &world.key, false).await.entries, 5);
}

#[tokio::test]
async fn entries_come_page_by_page_the_newest_first() {
    let world = World::new().await;
    for low_balance in 1..=4 {
        set(&world, Organisation { low_balance, ..Organisation::default() }, "low_balance").await;
    }
    let (mut numbers, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditEntriesRequest { platform: false, page_size: 2, page_token };
        let page = list(&world, &world.key, request).await.expect("listed");
        assert!(page.entries.len() <= 2);
        numbers.extend(page.entries.iter().map(|entry| entry.number));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    let request = ListAuditEntriesRequest { page_token: "x".into(), ..Default::default() };
    let refused = list(&world, &world.key, request).await.expect_err("no token");
    assert_eq!(refused.message(), "page_token: is not one that this method gave; start without it");
}

#[tokio::test]
async fn each_reads_its_own_entries_and_only_the_platform_the_platforms() {
    let world = World::new().await;
    let (_, other) = world.create_organisation("Other").await;
    let others = all(&world, &other, false).await;
    assert_eq!(
        (acts(&others), others[0].subject.as_str()),
        (vec!["organisation.created"], "organisation")
    );
    assert_eq!(told(&others[0]).1["name"], "Other");
    let platforms = all(&world, PLATFORM, true).await;
    assert_eq!(acts(&platforms), ["organisation.created", "organisation.created"]);
    assert_eq!(platforms[0].subject, format!("organisations/{}", world.organisation));
    for (key, platform) in [(world.key.as_str(), true), (PLATFORM, false)] {
        let request = ListAuditEntriesRequest { platform, ..Default::default() };
        let denied = list(&world, key, request).await.expect_err("denied");
        assert_eq!(denied.code(), Code::PermissionDenied);
        let request = with_key(VerifyAuditEntriesRequest { platform }, key);
        let denied = world.audit().verify_audit_entries(request).await.expect_err("denied");
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn what_operators_do_with_parked_messages_is_written_down() {
    let world = World::new().await;
    for body in [b"\x08\x01", b"\x08\x02"] {
        let parked =
            park_unnumbered(world.around(), &world.clock, "jobs.sms.bulk", body, "cut off");
        parked.await.expect("parked");
    }
    let request = with_key(ListParkedRequest::default(), PLATFORM);
    let listed = world.operators().list_parked(request).await.expect("listed");
    let parked = listed.into_inner().parked;
    let [one, two] = &parked[..] else { panic!("two") };
    let discard = |key: &str| with_key(DiscardParkedRequest { id: one.id.clone() }, key);
    world.operators().discard_parked(discard(&world.key)).await.expect_err("denied");
    world.operators().discard_parked(discard(PLATFORM)).await.expect("discarded");
    world.operators().discard_parked(discard(PLATFORM)).await.expect_err("it is gone");
    let request = with_key(ReplayParkedRequest { id: two.id.clone() }, PLATFORM);
    world.operators().replay_parked(request).await.expect("replayed");
    let entries = all(&world, PLATFORM, true).await;
    assert_eq!(acts(&entries[1..]), ["parked.discarded", "parked.replayed"]);
    assert_eq!(entries[1].subject, format!("parked/{}", one.id));
    assert_eq!(entries[1].key_prefix, "crl_platform_test");
    assert_eq!(told(&entries[1]).0["source"], "jobs.sms.bulk");
    assert!(verify(&world, PLATFORM, true).await.broken == 0);
}

#[tokio::test]
async fn what_a_service_refuses_to_do_with_a_parked_message_is_written_down_too() {
    let world = World::new().await;
    let damaged = AuditRecorded::default();
    // An event without a time is one that nobody can write down.
    let stream = topology::stream(topology::BILLING, topology::AUDIT_RECORDED);
    let queue = topology::event_queue(topology::CAMPAIGN_API, &stream);
    let event = Event {
        organisation_id: world.organisation.to_wire(),
        body: Some(Body::AuditRecorded(damaged)),
        ..Event::default()
    };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("carillon-stream", &stream),
        header("carillon-seq", "1"),
        header("carillon-floor", "1"),
    ];
    let body = event.encode_to_vec().into();
    let publication = Publication { to: Destination::Queue(queue), headers, body };
    world.broker.publish(publication).await.expect("published");
    let parked = || async {
        let request = with_key(ListParkedRequest::default(), PLATFORM);
        world.operators().list_parked(request).await.expect("listed").into_inner().parked
    };
    eventually("it is parked", || async { !parked().await.is_empty() }).await;
    let parked = parked().await.remove(0);
    assert_eq!(parked.error, "audit.recorded: without a time");
    let request = with_key(ReplayParkedRequest { id: parked.id.clone() }, PLATFORM);
    world.operators().replay_parked(request).await.expect_err("it fails again");
    let entries = all(&world, PLATFORM, true).await;
    assert_eq!(acts(&entries[1..]), ["parked.replayed", "parked.refused"]);
    assert_eq!(told(&entries[2]).1, json!({ "code": "FailedPrecondition" }));
}

#[tokio::test]
async fn a_tampered_entry_is_found() {
    let world = World::new().await;
    for low_balance in 1..=3 {
        set(&world, Organisation { low_balance, ..Organisation::default() }, "low_balance").await;
    }
    let change = async |sqlite: &str, postgres: &str| {
        let tx = world.own().begin().await.expect("begun");
        tx.run(differs(sqlite, postgres), []).await?;
        tx.commit().await
    };
    let tampering = "UPDATE audit_entries SET key_prefix = 'crl_somebody' WHERE number = 3";
    change(tampering, tampering).await.expect_err("it is append-only");
    let unlocked = "DROP TRIGGER audit_entries_kept";
    change(unlocked, &format!("{unlocked} ON audit_entries")).await.expect("dropped");
    assert_eq!(verify(&world, &world.key, false).await.broken, 0);
    change(tampering, tampering).await.expect("changed");
    let found = verify(&world, &world.key, false).await;
    assert_eq!((found.broken, found.entries, found.hash.as_str()), (3, 0, ""));
}
