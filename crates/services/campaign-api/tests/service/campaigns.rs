use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, CampaignState, CreateCampaignRequest, CustomerList, GetCampaignRequest,
        ListCampaignsRequest, UpdateCampaignRequest, Validity, audience::Selection,
    },
    jobs::v1::{Content, EmailContent, SmsContent},
};
use jiff::SignedDuration;
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{World, campaign, with_key};

fn selecting(selection: Selection) -> Campaign {
    Campaign { audience: Some(Audience { selection: Some(selection) }), ..campaign("Monday") }
}

async fn request(world: &World, request: CreateCampaignRequest) -> Result<Campaign, Status> {
    world.campaigns().create_campaign(world.ours(request)).await.map(Response::into_inner)
}

async fn get(world: &World, key: &str, id: &str) -> Result<Campaign, Status> {
    let request = with_key(GetCampaignRequest { id: id.into() }, key);
    world.campaigns().get_campaign(request).await.map(Response::into_inner)
}

async fn list(world: &World, page_size: i32) -> Vec<String> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = world.ours(ListCampaignsRequest { page_size, page_token });
        let page = world.campaigns().list_campaigns(request).await.expect("listed").into_inner();
        assert!(page_size == 0 || page.campaigns.len() <= page_size as usize);
        names.extend(page.campaigns.into_iter().map(|campaign| campaign.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

async fn update(world: &World, given: Campaign, paths: &[&str]) -> Result<Campaign, Status> {
    let paths = paths.iter().map(ToString::to_string).collect();
    let request =
        UpdateCampaignRequest { campaign: Some(given), update_mask: Some(FieldMask { paths }) };
    world.campaigns().update_campaign(world.ours(request)).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_new_campaign_is_a_draft_with_what_was_given() {
    let world = World::new().await;
    let created = world.create(campaign("Monday")).await;
    assert_eq!(created.state(), CampaignState::Draft);
    assert_eq!((created.version, created.run_id.as_str()), (1, ""));
    assert_eq!((created.content.clone(), created.active), (campaign("").content, true));
    assert_eq!(get(&world, &world.key, &created.id).await.expect("stored"), created);
}

#[tokio::test]
async fn another_organisations_campaign_does_not_exist() {
    let world = World::new().await;
    let (_, other) = world.create_organisation("Other").await;
    let created = world.create(campaign("Monday")).await;
    let theirs = get(&world, &other, &created.id).await.expect_err("hidden");
    let none = get(&world, &other, "0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11").await;
    assert_eq!((theirs.code(), none.expect_err("none").code()), (Code::NotFound, Code::NotFound));
    assert_eq!(
        theirs.message(),
        format!(
            "id: there is no campaign {}; `carillon campaign list` shows those there are",
            created.id
        )
    );
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_the_audiences_among_them() {
    let world = World::new().await;
    let wrong = Campaign {
        name: String::new(),
        valid: Some(Validity { from: "2026-12-01".into(), until: "2026-11-30".into() }),
        content: Some(Content {
            sms: Some(SmsContent { text: "x".repeat(641), ..Default::default() }),
            email: Some(EmailContent {
                subject: "Hi\nthere".into(),
                text: String::new(),
                html: "<p>{Pionts}</p>".into(),
            }),
            template: None,
            test: false,
        }),
        ..selecting(Selection::Filter("categroy:VIP".into()))
    };
    let status = world.try_create(wrong).await.expect_err("wrong");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "name: is missing; give 1 to 100 characters\n\
         valid.until: 2026-11-30 is an end before its beginning, 2026-12-01; swap them or move one\n\
         content.sms.text: has 641 characters; 640 at most, so shorten it by 1\n\
         content.email.subject: has a line break or another control character at character 3; a \
         subject is one line\n\
         content.email.html: `{Pionts}` at character 4 is not a variable; did you mean `{Points}`?\n\
         audience.filter: 'categroy' is not a field; did you mean 'category'?"
    );
    assert_eq!(status.get_details_bad_request().expect("fields").field_violations.len(), 6);
    assert_eq!(list(&world, 0).await, [""; 0]);
}

#[tokio::test]
async fn named_customers_must_exist() {
    let world = World::new().await;
    let list = |ids: &[&str]| {
        let external_ids = ids.iter().map(ToString::to_string).collect();
        selecting(Selection::Customers(CustomerList { external_ids }))
    };
    world.create(list(&["C1", "C2"])).await;
    let status = world.try_create(list(&["C1", "X1", "X2"])).await.expect_err("unknown");
    assert_eq!(
        status.message(),
        "audience.customers: 'X1' is no customer\naudience.customers: 'X2' is no customer"
    );
}

#[tokio::test]
async fn a_campaign_whose_audience_cannot_be_checked_may_be_tried_again() {
    let world = World::new().await;
    let status = world.try_create(selecting(Selection::Filter("down".into()))).await;
    let status = status.expect_err("unavailable");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.message(),
        "customers can't be read at the moment; try again in a few seconds"
    );
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn validate_only_checks_and_stores_nothing() {
    let world = World::new().await;
    let validate = |campaign| CreateCampaignRequest {
        campaign: Some(campaign),
        validate_only: true,
        request_id: "r".into(),
    };
    let draft = request(&world, validate(campaign("Monday"))).await.expect("valid");
    assert_eq!((draft.id.as_str(), draft.state()), ("", CampaignState::Draft));
    assert!(request(&world, validate(campaign(""))).await.is_err());
    assert_eq!(list(&world, 0).await, [""; 0]);
}

#[tokio::test]
async fn the_same_request_creates_one_campaign() {
    let world = World::new().await;
    let create = |name: &str| CreateCampaignRequest {
        campaign: Some(campaign(name)),
        request_id: "monday".into(),
        validate_only: false,
    };
    let first = request(&world, create("Monday")).await.expect("created");
    assert_eq!(request(&world, create("Monday")).await.expect("the same"), first);
    let reused = request(&world, create("Tuesday")).await.expect_err("reused");
    assert_eq!(reused.code(), Code::AlreadyExists);
    assert_eq!(reused.get_details_error_info().expect("a reason").reason, "REQUEST_ID_REUSED");
    assert_eq!(
        reused.message(),
        format!(
            "request_id: 'monday' already made campaign {} from another body; use another \
             request_id for another one",
            first.id
        )
    );
    assert_eq!(list(&world, 0).await, ["Monday"]);
}

#[tokio::test]
async fn campaigns_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        world.create(campaign(&format!("Campaign {number}"))).await;
        expected.insert(0, format!("Campaign {number}"));
        if number % 2 == 0 {
            world.clock.advance(SignedDuration::from_secs(1));
        }
    }
    for page_size in [0, 1, 3, 7] {
        assert_eq!(list(&world, page_size).await, expected, "{page_size} a page");
    }
}

#[tokio::test]
async fn a_page_of_large_campaigns_fits_into_one_answer() {
    let world = World::new().await;
    let html = "ü".repeat(200_000);
    let email = EmailContent { subject: "Hi".into(), text: String::new(), html };
    for _ in 0..12 {
        let content = Some(Content { sms: None, email: Some(email.clone()), ..Default::default() });
        world.create(Campaign { content, ..campaign("Large") }).await;
    }
    assert_eq!(list(&world, 0).await.len(), 12);
}

#[tokio::test]
async fn an_update_sets_what_the_mask_names() {
    let world = World::new().await;
    let created = world.create(campaign("Monday")).await;
    let given = Campaign {
        id: created.id.clone(),
        name: "Ignored".into(),
        active: false,
        content: Some(Content {
            sms: Some(SmsContent { text: "Hello".into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Campaign::default()
    };
    world.clock.advance(SignedDuration::from_secs(1));
    let updated = update(&world, given, &["active", "content.sms"]).await.expect("updated");
    assert_eq!((updated.name.as_str(), updated.active, updated.version), ("Monday", false, 2));
    assert_eq!(updated.content.clone().and_then(|it| it.sms).expect("sms").text, "Hello");
    assert_ne!(updated.update_time, created.update_time);
    assert_eq!(get(&world, &world.key, &created.id).await.expect("stored"), updated);
}

#[tokio::test]
async fn a_wrong_update_is_refused() {
    let world = World::new().await;
    let created = world.create(campaign("Monday")).await;
    let given = Campaign { id: created.id.clone(), ..Campaign::default() };
    let status = update(&world, given.clone(), &["state"]).await.expect_err("not settable");
    assert_eq!(
        status.message(),
        "update_mask: 'state' is not a field that can be set; name one of name, active, valid, \
         valid.from, valid.until, audience, schedule, pending_period, at_most_once_in, content, \
         content.sms, content.email, content.template"
    );
    let status = update(&world, given.clone(), &["name"]).await.expect_err("empty");
    assert_eq!(status.message(), "name: is missing; give 1 to 100 characters");
    world.try_start(&created.id).await.expect("started");
    let status = update(&world, given, &["name"]).await.expect_err("started");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        format!(
            "campaign.id: campaign {} was started, and of such a one only `active` can be changed; \
             create another one",
            created.id
        )
    );
}
