use std::pin::Pin;

use carillon_contracts::campaign::v1::{
    ArchiveCampaignRequest, Campaign, CancelCampaignRequest, CopyCampaignRequest,
    ForecastCampaignRequest, GetCampaignRequest, ListCampaignsRequest, ListNextRunsRequest,
    PauseCampaignRequest, PreviewCampaignRequest, ResumeCampaignRequest, StartCampaignRequest,
    TestCampaignRequest, UpdateCampaignRequest,
};
use tonic::{Code, Status};

use crate::world::{World, campaign, with_key};

type Asked<'a> = Pin<Box<dyn Future<Output = Result<(), Status>> + 'a>>;

#[tokio::test]
async fn another_organisations_campaign_is_not_there_for_any_verb() {
    let world = World::new().await;
    world.everyone_obeys();
    let (_, theirs) = world.create_organisation("Other").await;
    let started = world.started().await;
    let draft = world.create(campaign("Draft")).await;
    macro_rules! verbs {
        ($id:ident: $($method:ident($request:expr)),+ $(,)?) => {
            [$((stringify!($method), {
                let request = with_key($request, &theirs);
                let mut campaigns = world.campaigns();
                Box::pin(async move { campaigns.$method(request).await.map(drop) }) as Asked<'_>
            })),+]
        };
    }
    for id in [&started.id, &draft.id] {
        let id = id.clone();
        let given = Campaign { id: id.clone(), ..campaign("Mine now") };
        let asked = verbs!(id:
            get_campaign(GetCampaignRequest { id: id.clone() }),
            update_campaign(UpdateCampaignRequest { campaign: Some(given), update_mask: None }),
            start_campaign(StartCampaignRequest { id: id.clone() }),
            pause_campaign(PauseCampaignRequest { id: id.clone() }),
            resume_campaign(ResumeCampaignRequest { id: id.clone() }),
            cancel_campaign(CancelCampaignRequest { id: id.clone() }),
            list_next_runs(ListNextRunsRequest { id: id.clone(), page_size: 0, from: None }),
            forecast_campaign(ForecastCampaignRequest { id: id.clone() }),
            preview_campaign(PreviewCampaignRequest { id: id.clone(), customer: "C1".into() }),
            test_campaign(TestCampaignRequest {
                id: id.clone(),
                customer: "C1".into(),
                request_id: String::new(),
            }),
            copy_campaign(CopyCampaignRequest { id: id.clone(), request_id: String::new() }),
            archive_campaign(ArchiveCampaignRequest { id: id.clone() }),
        );
        for (verb, answer) in asked {
            let status = answer.await.expect_err(verb);
            assert_eq!(status.code(), Code::NotFound, "{verb}");
            let field = if verb == "update_campaign" { "campaign.id" } else { "id" };
            assert_eq!(
                status.message(),
                format!(
                    "{field}: there is no campaign {id}; `carillon campaign list` shows those there \
                     are"
                ),
                "{verb}"
            );
        }
    }
    assert_eq!(world.halts.told(), [], "nobody was told of anything");
    for campaign in [started, draft] {
        let request = world.ours(GetCampaignRequest { id: campaign.id.clone() });
        let now = world.campaigns().get_campaign(request).await.expect("there").into_inner();
        assert_eq!(now, campaign, "nothing of it changed");
    }
    let request = with_key(ListCampaignsRequest::default(), &theirs);
    let listed = world.campaigns().list_campaigns(request).await.expect("listed").into_inner();
    assert_eq!(listed.campaigns, []);
}
