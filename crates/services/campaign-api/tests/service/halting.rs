use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{
        Campaign, CampaignState, CancelCampaignRequest, GetCampaignRequest, HaltCampaignResponse,
        ListNextRunsRequest, NextRun, PauseCampaignRequest, ResumeCampaignRequest, Schedule,
        UpdateCampaignRequest, schedule::When,
    },
    events::v1::{Halt, RunDue, RunPlanned, event::Body},
    ids::{CampaignId, RunId},
    time,
};
use carillon_testkit::eventually;
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{World, campaign, next, with_key};

async fn pause(world: &World, id: &str) -> Result<HaltCampaignResponse, Status> {
    let request = world.ours(PauseCampaignRequest { id: id.into() });
    world.campaigns().pause_campaign(request).await.map(Response::into_inner)
}

async fn resume(world: &World, id: &str) -> Result<HaltCampaignResponse, Status> {
    let request = world.ours(ResumeCampaignRequest { id: id.into() });
    world.campaigns().resume_campaign(request).await.map(Response::into_inner)
}

async fn cancel(world: &World, id: &str) -> Result<HaltCampaignResponse, Status> {
    let request = world.ours(CancelCampaignRequest { id: id.into() });
    world.campaigns().cancel_campaign(request).await.map(Response::into_inner)
}

async fn get(world: &World, id: &str) -> Campaign {
    let request = world.ours(GetCampaignRequest { id: id.into() });
    world.campaigns().get_campaign(request).await.expect("stored").into_inner()
}

async fn switch(world: &World, id: &str, active: bool) -> Result<Campaign, Status> {
    let given = Campaign { id: id.into(), active, ..Campaign::default() };
    let paths = vec!["active".to_owned()];
    let request =
        UpdateCampaignRequest { campaign: Some(given), update_mask: Some(FieldMask { paths }) };
    world.campaigns().update_campaign(world.ours(request)).await.map(Response::into_inner)
}

fn state(answer: &HaltCampaignResponse) -> (CampaignState, bool, u64) {
    let campaign = answer.campaign.as_ref().expect("a campaign");
    (campaign.state(), answer.in_effect, campaign.version)
}

async fn obeyed() -> World {
    let world = World::new().await;
    world.everyone_obeys();
    world
}

fn once(text: &str) -> Campaign {
    Campaign {
        schedule: Some(Schedule { when: Some(When::Once(text.into())) }),
        ..campaign("Once")
    }
}

fn nobody(started: &Campaign) -> Body {
    let campaign: CampaignId = started.id.parse().expect("an id");
    let run: RunId = started.run_id.parse().expect("an id");
    Body::RunPlanned(RunPlanned {
        campaign_id: campaign.to_wire(),
        run_id: run.to_wire(),
        ..RunPlanned::default()
    })
}

#[tokio::test]
async fn an_order_is_in_effect_once_every_service_obeys_and_versions_rise() {
    let world = obeyed().await;
    let started = world.started().await;
    let paused = pause(&world, &started.id).await.expect("paused");
    assert_eq!(state(&paused), (CampaignState::Paused, true, 3));
    let resumed = resume(&world, &started.id).await.expect("resumed");
    assert_eq!(state(&resumed), (CampaignState::Running, true, 4));
    let cancelled = cancel(&world, &started.id).await.expect("cancelled");
    assert_eq!(state(&cancelled), (CampaignState::Cancelled, true, 5));
    let status = world.try_start(&started.id).await.expect_err("not again");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "CAMPAIGN_CANCELLED");
    let id: CampaignId = started.id.parse().expect("an id");
    let told: Vec<_> = (world.halts.told().into_iter())
        .map(|halted| (halted.campaign_id.clone(), halted.halt(), halted.version))
        .collect();
    assert_eq!(
        told,
        [(Halt::Paused, 3), (Halt::Running, 4), (Halt::Cancelled, 5)].map(|(halt, version)| (
            id.to_wire(),
            halt,
            version
        ))
    );
}

#[tokio::test]
async fn an_order_given_again_changes_nothing() {
    let world = obeyed().await;
    let started = world.started().await;
    assert_eq!(
        state(&resume(&world, &started.id).await.expect("it runs")),
        (CampaignState::Running, true, 2)
    );
    for _ in 0..3 {
        let paused = pause(&world, &started.id).await.expect("paused");
        assert_eq!(state(&paused), (CampaignState::Paused, true, 3));
    }
    let again = world.try_start(&started.id).await.expect("the same");
    assert_eq!(again.state(), CampaignState::Paused, "starting again does not resume");
    for _ in 0..3 {
        let cancelled = cancel(&world, &started.id).await.expect("cancelled");
        assert_eq!(state(&cancelled), (CampaignState::Cancelled, true, 4));
    }
    assert_eq!(world.halts.told().len(), 2);
}

#[tokio::test]
async fn an_order_that_a_service_has_not_heard_is_stored_and_comes_into_effect_later() {
    let world = World::new().await;
    let started = world.started().await;
    let paused = pause(&world, &started.id).await.expect("stored");
    assert_eq!(state(&paused), (CampaignState::Paused, false, 3));
    world.everyone_obeys();
    let again = pause(&world, &started.id).await.expect("the same");
    assert_eq!(state(&again), (CampaignState::Paused, true, 3));
}

#[tokio::test]
async fn what_can_not_be_halted_says_why() {
    let world = obeyed().await;
    let draft = world.create(campaign("Monday")).await;
    let refused = |status: Result<HaltCampaignResponse, Status>| {
        let status = status.expect_err("refused");
        assert_eq!(status.code(), Code::FailedPrecondition);
        let reason = status.get_details_error_info().expect("a reason").reason;
        (reason, status.message().to_owned())
    };
    let (reason, message) = refused(pause(&world, &draft.id).await);
    assert_eq!(reason, "CAMPAIGN_NOT_STARTED");
    assert_eq!(
        message,
        format!(
            "id: campaign {} is a draft and sends nothing, so it can't be paused; start it first",
            draft.id
        )
    );
    let started = world.started().await;
    cancel(&world, &started.id).await.expect("cancelled");
    assert_eq!(refused(resume(&world, &started.id).await).0, "CAMPAIGN_CANCELLED");
    assert_eq!(refused(pause(&world, &started.id).await).0, "CAMPAIGN_CANCELLED");
    let (_, other) = world.create_organisation("Other").await;
    let request = with_key(PauseCampaignRequest { id: started.id }, &other);
    let hidden = world.campaigns().pause_campaign(request).await.expect_err("hidden");
    assert_eq!(hidden.code(), Code::NotFound);
}

#[tokio::test]
async fn a_paused_campaign_that_has_settled_everything_is_finished_and_a_cancelled_one_is_not() {
    let world = obeyed().await;
    let (paused, cancelled) = (world.started().await, world.started().await);
    pause(&world, &paused.id).await.expect("paused");
    cancel(&world, &cancelled.id).await.expect("cancelled");
    let planner = world.neighbour(topology::SEGMENT_EVALUATOR);
    planner.tell(nobody(&cancelled)).await;
    planner.tell(nobody(&paused)).await;
    eventually("the paused one is finished", || async {
        get(&world, &paused.id).await.state() == CampaignState::Finished
    })
    .await;
    assert_eq!(get(&world, &cancelled.id).await.state(), CampaignState::Cancelled);
    let status = cancel(&world, &paused.id).await.expect_err("it is finished");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "CAMPAIGN_FINISHED");
}

#[tokio::test]
async fn a_running_campaign_that_is_switched_off_pauses_and_switched_on_goes_on() {
    let world = obeyed().await;
    let started = world.started().await;
    let off = switch(&world, &started.id, false).await.expect("switched off");
    assert_eq!((off.state(), off.active), (CampaignState::Paused, false));
    assert_eq!(off.in_effect, Some(true));
    assert_eq!(switch(&world, &started.id, false).await.expect("the same"), off);
    let on = switch(&world, &started.id, true).await.expect("switched on");
    assert_eq!((on.state(), on.active), (CampaignState::Running, true));
    switch(&world, &started.id, false).await.expect("switched off");
    let resumed = resume(&world, &started.id).await.expect("resumed").campaign.expect("one");
    assert_eq!((resumed.state(), resumed.active), (CampaignState::Running, true));
    let halts: Vec<Halt> = world.halts.told().iter().map(|halted| halted.halt()).collect();
    assert_eq!(halts, [Halt::Paused, Halt::Running, Halt::Paused, Halt::Running]);

    pause(&world, &started.id).await.expect("paused");
    let off = switch(&world, &started.id, false).await.expect("switched off");
    assert_eq!((off.state(), off.active), (CampaignState::Paused, false));
    assert_eq!(world.halts.told().len(), 5, "it was paused already");
}

#[tokio::test]
async fn a_switch_that_not_every_service_obeys_is_stored_and_not_yet_in_effect() {
    let world = World::new().await;
    let started = world.started().await;
    for _ in 0..2 {
        let off = switch(&world, &started.id, false).await.expect("stored");
        assert_eq!((off.state(), off.in_effect), (CampaignState::Paused, Some(false)));
    }
    assert_eq!(get(&world, &started.id).await.in_effect, None, "it is of an answer alone");
    world.everyone_obeys();
    let off = switch(&world, &started.id, false).await.expect("the same");
    assert_eq!(off.in_effect, Some(true));
}

#[tokio::test]
async fn nothing_else_of_a_started_campaign_can_be_changed() {
    let world = obeyed().await;
    let started = world.started().await;
    let given = Campaign { name: "Tuesday".into(), active: false, ..started.clone() };
    let request = UpdateCampaignRequest { campaign: Some(given), update_mask: None };
    let status = world.campaigns().update_campaign(world.ours(request)).await;
    assert_eq!(
        status.expect_err("refused").message(),
        format!(
            "campaign.id: campaign {} was started, and of such a one only `active` can be \
             changed; create another one",
            started.id
        )
    );
    assert_eq!(get(&world, &started.id).await, started);
    // A file says the whole of a campaign; only the switch of it differs.
    let given = Campaign { active: false, ..started.clone() };
    let request = UpdateCampaignRequest { campaign: Some(given), update_mask: None };
    let off = world.campaigns().update_campaign(world.ours(request)).await.expect("switched");
    assert_eq!(off.into_inner().state(), CampaignState::Paused);
}

#[tokio::test]
async fn a_campaign_at_a_set_time_is_scheduled_until_its_run_begins() {
    let world = obeyed().await;
    let mut queue = world.queue(topology::SCHEDULER, topology::CAMPAIGN_PUBLISHED).await;
    let draft = world.create(once("2026-12-01T09:00")).await;
    let started = world.try_start(&draft.id).await.expect("started");
    let id: CampaignId = started.id.parse().expect("an id");
    assert_eq!(started.state(), CampaignState::Scheduled);
    assert_eq!(started.run_id, RunId::of(id, "2026-12-01T09:00").to_string());
    let Some(Body::CampaignPublished(published)) = next(&mut queue).await.body else {
        panic!("another event")
    };
    assert_eq!(published.campaign, Some(started.clone()));

    pause(&world, &started.id).await.expect("paused");
    let resumed = resume(&world, &started.id).await.expect("resumed");
    assert_eq!(state(&resumed).0, CampaignState::Scheduled, "its time is still to come");
    let run: RunId = started.run_id.parse().expect("an id");
    let at = Some(time::to_wire(world.clock.now()));
    let due = RunDue {
        campaign_id: id.to_wire(),
        run_id: run.to_wire(),
        nominal_time: at,
        deadline: at,
        ..RunDue::default()
    };
    world.neighbour(topology::SCHEDULER).tell(Body::RunDue(due)).await;
    eventually("its run has begun", || async {
        get(&world, &started.id).await.state() == CampaignState::Running
    })
    .await;
    pause(&world, &started.id).await.expect("paused");
    let resumed = resume(&world, &started.id).await.expect("resumed");
    assert_eq!(state(&resumed).0, CampaignState::Running);
}

#[tokio::test]
async fn a_set_time_must_be_one_and_still_to_come_when_it_is_started() {
    let world = World::new().await;
    let status = world.try_create(once("tomorrow at nine")).await.expect_err("no time");
    assert!(status.message().starts_with("schedule.once: 'tomorrow at nine' is not"), "{status}");
    // In Amsterdam it is half past midnight, on the first of December.
    let draft = world.create(once("2026-12-01T00:30")).await;
    let status = world.try_start(&draft.id).await.expect_err("over");
    assert_eq!(status.get_details_error_info().expect("a reason").reason, "CAMPAIGN_TIME_OVER");
    assert_eq!(
        status.message(),
        "schedule.once: 2026-12-01T00:30 is over, in Europe/Amsterdam it is 2026-12-01T00:30; \
         set a later time"
    );
    let later = world.create(once("2026-12-01T00:31")).await;
    assert_eq!(
        world.try_start(&later.id).await.expect("started").state(),
        CampaignState::Scheduled
    );
}

async fn next_runs(world: &World, id: &str, from: Option<&str>) -> Vec<NextRun> {
    let from = from.map(|from| time::to_wire(from.parse().expect("a timestamp")));
    let request = ListNextRunsRequest { id: id.into(), page_size: 0, from };
    let listed = world.campaigns().list_next_runs(world.ours(request)).await.expect("listed");
    listed.into_inner().runs
}

#[tokio::test]
async fn the_next_runs_of_drafts_and_scheduled_campaigns_are_shown() {
    let world = obeyed().await;
    let draft = world.create(once("2026-12-24T18:00")).await;
    let runs = next_runs(&world, &draft.id, None).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].local_time, "2026-12-24T18:00:00+01:00[Europe/Amsterdam]");
    let instant = |text: &str| Some(time::to_wire(text.parse().expect("a timestamp")));
    assert_eq!(runs[0].time, instant("2026-12-24T17:00:00Z"));
    assert_eq!(runs[0].deadline, instant("2026-12-25T17:00:00Z"), "a day where nothing is set");
    assert_eq!(next_runs(&world, &draft.id, Some("2026-12-24T17:00:01Z")).await, []);
    world.try_start(&draft.id).await.expect("started");
    assert_eq!(next_runs(&world, &draft.id, None).await, runs);
    cancel(&world, &draft.id).await.expect("cancelled");
    assert_eq!(next_runs(&world, &draft.id, None).await, []);

    let now = world.create(campaign("Now")).await;
    assert_eq!(
        next_runs(&world, &now.id, None).await[0].time,
        Some(time::to_wire(world.clock.now()))
    );
    world.try_start(&now.id).await.expect("started");
    assert_eq!(next_runs(&world, &now.id, None).await, [], "it runs once");
    let request = ListNextRunsRequest { id: now.id, page_size: 101, from: None };
    let status = world.campaigns().list_next_runs(world.ours(request)).await.expect_err("too many");
    assert_eq!(status.message(), "page_size: 101 is not within 1 to 100");
}

#[tokio::test]
async fn replicas_halt_and_finish_the_same_campaign_one_after_the_other() {
    use carillon_contracts::campaign::v1::campaign_service_client::CampaignServiceClient;
    let world = obeyed().await;
    let other = CampaignServiceClient::new(world.replica().await);
    let started = world.started().await;
    let id = started.id.as_str();
    let orders = (0..8).map(|turn| {
        let (mut one, mut two) = (world.campaigns(), other.clone());
        let pause = world.ours(PauseCampaignRequest { id: id.into() });
        let resume = world.ours(ResumeCampaignRequest { id: id.into() });
        async move {
            if turn % 2 == 0 {
                one.pause_campaign(pause).await.map(Response::into_inner)
            } else {
                two.resume_campaign(resume).await.map(Response::into_inner)
            }
        }
    });
    let answers = futures::future::join_all(orders).await;
    assert!(
        answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.in_effect)),
        "{answers:?}"
    );
    let told = world.halts.told();
    let versions: Vec<u64> = told.iter().map(|halted| halted.version).collect();
    let expected: Vec<u64> = (3..).take(told.len()).collect();
    let mut sorted = versions.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "each change has a version of its own");
    let last = told.iter().max_by_key(|halted| halted.version).expect("one");
    let ended = get(&world, id).await;
    assert_eq!(ended.version, last.version);
    assert_eq!(ended.state() == CampaignState::Paused, last.halt() == Halt::Paused);
}
