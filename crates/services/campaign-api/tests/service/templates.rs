use carillon_contracts::{
    campaign::v1::{
        Campaign, CreateTemplateRequest, DeleteTemplateRequest, GetCampaignRequest,
        GetTemplateRequest, ListTemplateVersionsRequest, ListTemplatesRequest, Template,
        UpdateCampaignRequest, UpdateTemplateRequest,
    },
    jobs::v1::{Content, EmailContent, SmsContent, TemplateVersion},
};
use jiff::SignedDuration;
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{World, campaign, with_key};

fn saying(text: &str) -> Content {
    let sms = SmsContent { text: text.into(), downgrade: true };
    Content { sms: Some(sms), ..Content::default() }
}

fn naming(template: &str, version: u64) -> Content {
    let template = TemplateVersion { template: template.into(), version, name: String::new() };
    Content { template: Some(template), ..Content::default() }
}

fn with(content: Content) -> Campaign {
    Campaign { content: Some(content), ..campaign("Monday") }
}

async fn try_save(world: &World, name: &str, request_id: &str) -> Result<Template, Status> {
    let content = Some(saying("Hi {UserName|friend}"));
    let template = Some(Template { name: name.into(), content, ..Template::default() });
    let request = CreateTemplateRequest { template, request_id: request_id.into() };
    world.templates().create_template(world.ours(request)).await.map(Response::into_inner)
}

async fn save(world: &World, name: &str) -> Template {
    try_save(world, name, "").await.expect("saved")
}

async fn update(world: &World, name: &str, text: &str, expected: u64) -> Result<Template, Status> {
    let request = UpdateTemplateRequest {
        template: name.into(),
        content: Some(saying(text)),
        expected_version: expected,
    };
    world.templates().update_template(world.ours(request)).await.map(Response::into_inner)
}

async fn get(world: &World, named: &str, version: u64) -> Result<Template, Status> {
    let request = GetTemplateRequest { template: named.into(), version };
    world.templates().get_template(world.ours(request)).await.map(Response::into_inner)
}

async fn delete(world: &World, named: &str) -> Result<Template, Status> {
    let request = DeleteTemplateRequest { template: named.into() };
    world.templates().delete_template(world.ours(request)).await.map(Response::into_inner)
}

async fn list(world: &World, page_size: i32) -> Vec<String> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = world.ours(ListTemplatesRequest { page_size, page_token });
        let page = world.templates().list_templates(request).await.expect("listed").into_inner();
        assert!(page_size == 0 || page.templates.len() <= page_size as usize);
        names.extend(page.templates.into_iter().map(|template| template.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

async fn versions(world: &World, named: &str, page_size: i32) -> Vec<u64> {
    let (mut versions, mut page_token) = (Vec::new(), String::new());
    loop {
        let template = named.to_owned();
        let request = ListTemplateVersionsRequest { template, page_size, page_token };
        let page = world.templates().list_template_versions(world.ours(request)).await;
        let page = page.expect("listed").into_inner();
        versions.extend(page.versions.into_iter().map(|template| template.version));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return versions;
        }
    }
}

fn text(content: Option<&Content>) -> &str {
    content.and_then(|content| content.sms.as_ref()).map_or("", |sms| &sms.text)
}

fn pinned(campaign: &Campaign) -> (String, u64, String) {
    let template = campaign.content.clone().and_then(|content| content.template);
    let template = template.expect("a template");
    (template.name, template.version, text(campaign.content.as_ref()).to_owned())
}

#[tokio::test]
async fn every_save_is_a_version_and_none_ever_changes() {
    let world = World::new().await;
    let first = save(&world, "welcome").await;
    assert_eq!((first.name.as_str(), first.version), ("welcome", 1));
    assert_eq!(get(&world, "welcome", 0).await.expect("by name"), first);
    assert_eq!(get(&world, &first.id, 1).await.expect("by id"), first);
    world.clock.advance(SignedDuration::from_secs(60));
    let second = update(&world, "welcome", "Hello", 0).await.expect("saved");
    assert_eq!((second.version, second.id == first.id), (2, true));
    assert_eq!(second.create_time, first.create_time);
    assert_ne!(second.update_time, first.update_time);
    let again = update(&world, &first.id, "Hello", 2).await.expect("the same");
    assert_eq!(again, second, "the same texts make no version");
    assert_eq!(get(&world, "welcome", 0).await.expect("the newest"), second);
    assert_eq!(get(&world, "welcome", 1).await.expect("the first"), first);
    for n in 3..30 {
        update(&world, "welcome", &format!("Hello {n}"), n - 1).await.expect("saved");
    }
    let all: Vec<u64> = (1..30).rev().collect();
    for page_size in [0, 1, 7, 29] {
        assert_eq!(versions(&world, "welcome", page_size).await, all, "{page_size} a page");
    }
    let status = update(&world, "welcome", "Bye", 2).await.expect_err("saved meanwhile");
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(
        status.message(),
        "expected_version: 2 is not the newest of 'welcome', which is 29; read that and try again"
    );
    let status = get(&world, "welcome", 30).await.expect_err("no version");
    assert_eq!(
        status.message(),
        "version: 30 is no version of 'welcome', which has 1 to 29; give one of those"
    );
}

#[tokio::test]
async fn saves_at_the_same_moment_are_versions_one_after_the_other() {
    let world = World::new().await;
    save(&world, "welcome").await;
    let texts: Vec<String> = (0..8).map(|n| format!("Hello {n}")).collect();
    let saves = texts.iter().map(|text| update(&world, "welcome", text, 0));
    let mut made: Vec<u64> = futures::future::join_all(saves)
        .await
        .into_iter()
        .map(|saved| saved.expect("saved").version)
        .collect();
    made.sort_unstable();
    assert_eq!(made, (2..10).collect::<Vec<u64>>());
    assert_eq!(versions(&world, "welcome", 0).await, (1..10).rev().collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_name_is_one_organisations_own_and_used_once() {
    let world = World::new().await;
    let (_, other) = world.create_organisation("Other").await;
    let first = save(&world, "welcome").await;
    let status = try_save(&world, "welcome", "").await.expect_err("taken");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "TEMPLATE_EXISTS");
    for named in ["welcome", &first.id] {
        let request = GetTemplateRequest { template: named.into(), version: 0 };
        let theirs = world.templates().get_template(with_key(request, &other)).await;
        assert_eq!(theirs.expect_err("hidden").code(), Code::NotFound);
    }
    let status = get(&world, "nobody's", 0).await.expect_err("none");
    assert_eq!(
        status.message(),
        "template: there is no template 'nobody's'; `carillon template list` shows those there are"
    );
    let status = try_save(&world, "a@1", "").await.expect_err("wrong");
    assert!(status.message().starts_with("name: contains '@'"), "{}", status.message());
    let status = update(&world, "welcome", "{Nmae}", 0).await.expect_err("wrong");
    assert!(status.message().starts_with("content.sms.text: `{Nmae}` at character 1"));
}

#[tokio::test]
async fn the_same_request_saves_one_template() {
    let world = World::new().await;
    let first = try_save(&world, "welcome", "r").await.expect("saved");
    update(&world, "welcome", "Hello", 0).await.expect("saved");
    assert_eq!(try_save(&world, "welcome", "r").await.expect("the same"), first);
    let status = try_save(&world, "goodbye", "r").await.expect_err("reused");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "REQUEST_ID_REUSED");
    assert_eq!(list(&world, 0).await, ["welcome"]);
}

#[tokio::test]
async fn templates_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        save(&world, &format!("t{number}")).await;
        expected.insert(0, format!("t{number}"));
        if number % 2 == 0 {
            world.clock.advance(SignedDuration::from_secs(1));
        }
    }
    for page_size in [0, 1, 3, 7] {
        assert_eq!(list(&world, page_size).await, expected, "{page_size} a page");
    }
}

#[tokio::test]
async fn what_is_deleted_can_be_read_by_its_id_and_its_name_is_free() {
    let world = World::new().await;
    let first = save(&world, "welcome").await;
    let kept = world.create(with(naming("welcome", 0))).await;
    let deleted = delete(&world, "welcome").await.expect("deleted");
    assert!(deleted.delete_time.is_some());
    assert_eq!(delete(&world, &first.id).await.expect("again"), deleted);
    assert_eq!(list(&world, 0).await, [""; 0]);
    assert_eq!(get(&world, &first.id, 1).await.expect("read"), deleted);
    let status = update(&world, &first.id, "Hello", 0).await.expect_err("deleted");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "TEMPLATE_DELETED");
    let status = world.try_create(with(naming("welcome", 0))).await.expect_err("deleted");
    assert_eq!(status.message(), "content.template: 'welcome' was deleted; name another template");
    let second = save(&world, "welcome").await;
    assert_ne!(second.id, first.id);
    assert_eq!(get(&world, "welcome", 0).await.expect("the new one"), second);
    // Its campaign keeps it, and can be changed as it stands.
    let renamed = Campaign { name: "Tuesday".into(), ..kept.clone() };
    let request = UpdateCampaignRequest { campaign: Some(renamed), update_mask: None };
    let updated = world.campaigns().update_campaign(world.ours(request)).await;
    assert_eq!(updated.expect("updated").into_inner().content, kept.content);
}

#[tokio::test]
async fn a_campaign_keeps_the_version_that_it_was_made_from() {
    let world = World::new().await;
    save(&world, "welcome").await;
    update(&world, "welcome", "Hello", 0).await.expect("saved");
    let newest = world.create(with(naming("welcome", 0))).await;
    let first = world.create(with(naming("welcome", 1))).await;
    assert_eq!(pinned(&newest), ("welcome".into(), 2, "Hello".into()));
    assert_eq!(pinned(&first), ("welcome".into(), 1, "Hi {UserName|friend}".into()));
    assert!(newest.content.clone().and_then(|content| content.sms).expect("an SMS").downgrade);
    update(&world, "welcome", "Goodbye", 0).await.expect("saved");
    let request = world.ours(GetCampaignRequest { id: newest.id.clone() });
    let read = world.campaigns().get_campaign(request).await.expect("read").into_inner();
    assert_eq!(read, newest, "a later save changes nothing that exists");
    let change = async |campaign: &Campaign, content: Content, active, paths: &[&str]| {
        let given = Campaign { content: Some(content), active, ..campaign.clone() };
        let paths = paths.iter().map(ToString::to_string).collect();
        let request =
            UpdateCampaignRequest { campaign: Some(given), update_mask: Some(FieldMask { paths }) };
        world.campaigns().update_campaign(world.ours(request)).await.map(Response::into_inner)
    };
    let again = change(&newest, naming("welcome", 0), true, &["content"]).await.expect("updated");
    assert_eq!(pinned(&again), ("welcome".into(), 3, "Goodbye".into()));
    let own = change(&first, saying("Mine"), true, &["content.sms"]).await.expect("updated");
    assert_eq!(own.content, Some(saying("Mine")), "it is the campaign's own text now");
    world.try_start(&again.id).await.expect("started");
    update(&world, "welcome", "Hello again", 0).await.expect("saved");
    let off = change(&again, naming("welcome", 0), false, &[]).await.expect("switched off");
    assert_eq!((off.active, pinned(&off).1), (false, 3));
    let status = change(&again, naming("welcome", 1), false, &[]).await.expect_err("started");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "NOT_A_DRAFT");
}

#[tokio::test]
async fn wrong_names_of_texts_are_refused_beside_other_faults() {
    let world = World::new().await;
    let welcome = save(&world, "welcome").await;
    let email = EmailContent { subject: "Hi".into(), text: "Hello".into(), html: String::new() };
    for (content, rule) in [
        (
            naming("x", 0),
            "there is no template 'x'; `carillon template list` shows those there are",
        ),
        (naming("", 3), "names no template; give its name or its id"),
        (
            naming("a\0b", 0),
            "there is no template 'a\0b'; `carillon template list` shows those there are",
        ),
        (naming("welcome", 2), "2 is no version of 'welcome', which has 1 to 1; give one of those"),
        (naming(&welcome.id, u64::MAX), ""),
        (
            Content { template: naming("welcome", 0).template, ..saying("Other") },
            "stands beside other texts than those of version 1 of 'welcome'; leave out the one or the other",
        ),
        (
            Content { email: Some(email), ..naming("welcome", 0) },
            "stands beside other texts than those of version 1 of 'welcome'; leave out the one or the other",
        ),
    ] {
        let wrong = Campaign { name: String::new(), ..with(content) };
        let status = world.try_create(wrong).await.expect_err("wrong");
        let message = status.message();
        let expected = "name: is missing; give 1 to 100 characters\ncontent.template: ";
        assert!(message.starts_with(&format!("{expected}{rule}")), "{message}");
    }
}
