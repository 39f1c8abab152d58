use carillon_contracts::campaign::v1::{
    CountSmsRequest, ForecastCampaignRequest, PreviewCampaignRequest,
};
use tonic::{Code, Response, Status};

use crate::world::{World, campaign};

async fn preview(world: &World, id: &str, customer: &str) -> Result<String, Status> {
    let request = PreviewCampaignRequest { id: id.into(), customer: customer.into() };
    let preview = world.campaigns().preview_campaign(world.ours(request)).await?;
    Ok(preview.into_inner().sms.unwrap_or_default().text)
}

#[tokio::test]
async fn a_draft_is_forecast_over_its_audience() {
    let world = World::new().await;
    let draft = world.create(campaign("Monday")).await;
    let request = world.ours(ForecastCampaignRequest { id: draft.id });
    let forecast = world.campaigns().forecast_campaign(request).await.map(Response::into_inner);
    assert_eq!(forecast.expect("a forecast").planned, 10);
}

#[tokio::test]
async fn a_draft_is_previewed_for_a_customer_who_exists() {
    let world = World::new().await;
    let draft = world.create(campaign("Monday")).await;
    assert_eq!(preview(&world, &draft.id, "C1").await.expect("shown"), "Hi {UserName|friend}");
    let status = preview(&world, &draft.id, "X1").await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(
        status.message(),
        "customer: there is no customer 'X1'; give the external id of one that `carillon \
         customers list` shows"
    );
    let status = preview(&world, &draft.id, "").await.expect_err("missing");
    assert_eq!(status.message(), "customer: is missing; give a customer's external id");
}

#[tokio::test]
async fn a_draft_of_an_sms_is_counted_as_written_and_as_sent() {
    let world = World::new().await;
    let count = async |text: &str| {
        let request = CountSmsRequest { text: text.into(), downgrade: false };
        world.contents().count_sms(world.ours(request)).await.map(Response::into_inner)
    };
    let counted = count("Hi {UserName|friend}, {Points}").await.expect("counted");
    assert_eq!((counted.draft_characters, counted.draft_characters_left), (30, 610));
    assert_eq!(counted.sms.expect("an SMS").text, "Hi friend, ");
    let status = count("Hi {Nmae}").await.expect_err("unknown");
    assert!(status.message().starts_with("text: `{Nmae}` at character 4 is not a variable"));
}
