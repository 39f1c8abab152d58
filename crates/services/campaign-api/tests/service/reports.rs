mod filters;

use std::collections::BTreeMap;

use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState},
    events::v1::{
        BatchPlanned, DeliveryChanged, MessageChange, PlannedBatch, RunDue, RunMissed, RunPlanned,
        Skipped, Totals, event::Body,
    },
    ids::{BatchId, CampaignId, CustomerId, MessageId, RunId, pack_customers},
    jobs::v1::Channel,
    report::v1::{
        GetReportRequest, ListReportMessagesRequest, ListReportMessagesResponse, Report,
        ReportMessage,
    },
    time,
};
use carillon_testkit::eventually;
use tonic::{Code, Response, Status};

use crate::world::{World, campaign, with_key};

async fn try_report(world: &World, campaign: &str, run: &str) -> Result<Report, Status> {
    let request = GetReportRequest { campaign_id: campaign.into(), run_id: run.into() };
    world.reports().get_report(world.ours(request)).await.map(Response::into_inner)
}

async fn report(world: &World, campaign: &str) -> Report {
    try_report(world, campaign, "").await.expect("a report")
}

async fn page(
    world: &World,
    campaign: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListReportMessagesResponse, Status> {
    let request = ListReportMessagesRequest {
        campaign_id: campaign.into(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    };
    world.reports().list_report_messages(world.ours(request)).await.map(Response::into_inner)
}

async fn messages(world: &World, campaign: &str, page_size: i32) -> Vec<ReportMessage> {
    let request = ListReportMessagesRequest {
        campaign_id: campaign.into(),
        page_size,
        ..ListReportMessagesRequest::default()
    };
    list(world, request).await.expect("a list")
}

/// Page by page.
async fn list(
    world: &World,
    mut request: ListReportMessagesRequest,
) -> Result<Vec<ReportMessage>, Status> {
    let mut messages = Vec::new();
    loop {
        let page = world.reports().list_report_messages(world.ours(request.clone())).await?;
        let page = page.into_inner();
        messages.extend(page.messages);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(messages);
        }
    }
}

/// One run of a started campaign: C0 to C3 get it by SMS, C4 and C5 have no address.
struct Run<'a> {
    world: &'a World,
    campaign: CampaignId,
    run: RunId,
    batch: BatchId,
}

impl<'a> Run<'a> {
    fn of(world: &'a World, started: &Campaign) -> Self {
        let campaign = started.id.parse().expect("an id");
        let run = started.run_id.parse().expect("an id");
        Self { world, campaign, run, batch: BatchId::of(run, Channel::Sms, 0) }
    }

    fn customer(&self, number: usize) -> CustomerId {
        CustomerId::of(self.world.organisation, &format!("C{number}"))
    }

    fn due(&self) -> Body {
        let at = Some(time::to_wire(self.world.clock.now()));
        Body::RunDue(RunDue {
            campaign_id: self.campaign.to_wire(),
            run_id: self.run.to_wire(),
            nominal_time: at,
            deadline: at,
            ..RunDue::default()
        })
    }

    fn step(&self) -> Body {
        Body::BatchPlanned(BatchPlanned {
            campaign_id: self.campaign.to_wire(),
            run_id: self.run.to_wire(),
            batches: vec![PlannedBatch {
                batch_id: self.batch.to_wire(),
                channel: Channel::Sms.into(),
                customer_ids: pack_customers((0..4).map(|number| self.customer(number))),
            }],
            skipped: vec![Skipped {
                channel: Channel::Sms.into(),
                reason: "no_address".into(),
                customer_ids: pack_customers((4..6).map(|number| self.customer(number))),
            }],
            ..BatchPlanned::default()
        })
    }

    fn planned(&self) -> Body {
        Body::RunPlanned(RunPlanned {
            campaign_id: self.campaign.to_wire(),
            run_id: self.run.to_wire(),
            matched: 6,
            planned: 4,
            skipped: [("no_address".to_owned(), 2)].into(),
        })
    }

    fn delivery(&self, totals: Totals, changes: Vec<MessageChange>) -> Body {
        Body::DeliveryChanged(DeliveryChanged {
            campaign_id: self.campaign.to_wire(),
            run_id: self.run.to_wire(),
            batch_id: self.batch.to_wire(),
            channel: Channel::Sms.into(),
            totals: Some(totals),
            changes,
            ..DeliveryChanged::default()
        })
    }

    fn change(&self, position: u32, state: &str, reason: &str) -> MessageChange {
        MessageChange {
            position,
            state: state.into(),
            reason: reason.into(),
            units: 2,
            parts: None,
            attempt: 1,
            change_time: Some(time::to_wire(self.world.clock.now())),
            provider_code: if state == "failed" { "30003".into() } else { String::new() },
        }
    }

    /// Three are sent, one waits.
    fn three_of_four(&self) -> Body {
        let totals = Totals {
            version: 1,
            count: 4,
            waiting: words(&[("retrying", 1)]),
            settled: words(&[("sent", 3)]),
            posted_units: 6,
            ..Totals::default()
        };
        let mut changes: Vec<_> = (0..3).map(|at| self.change(at, "sent", "")).collect();
        changes.push(self.change(3, "queued", "retrying"));
        self.delivery(totals, changes)
    }

    fn the_last(&self) -> Body {
        let totals = Totals {
            version: 2,
            count: 4,
            settled: words(&[("sent", 3), ("failed", 1)]),
            posted_units: 6,
            closed: true,
            ..Totals::default()
        };
        self.delivery(totals, vec![self.change(3, "failed", "unreachable")])
    }
}

fn words(words: &[(&str, u32)]) -> BTreeMap<String, u32> {
    words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

fn counts(words: &[(&str, u64)]) -> BTreeMap<String, u64> {
    words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_run_is_reported_from_its_start_to_its_end() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let empty = report(&world, &started.id).await;
    assert_eq!((empty.run.as_str(), empty.matched), (started.run_id.as_str(), 0));
    assert!(!empty.plan_complete);
    assert_eq!(empty.campaign_state(), CampaignState::Running);
    assert_eq!(messages(&world, &started.id, 0).await, []);

    let planner = world.neighbour(topology::SEGMENT_EVALUATOR);
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    // The dispatcher is heard before the planner.
    dispatcher.tell(run.three_of_four()).await;
    eventually("the dispatcher was heard", || async {
        report(&world, &started.id).await.planned == 4
    })
    .await;
    planner.tell(run.planned()).await;
    planner.tell(run.step()).await;
    world.neighbour(topology::SCHEDULER).tell(run.due()).await;
    eventually("the plan is complete", || async {
        report(&world, &started.id).await.plan_complete
    })
    .await;
    let running = report(&world, &started.id).await;
    assert_eq!((running.matched, running.planned, running.in_flight), (6, 4, 1));
    assert_eq!(running.skipped, counts(&[("no_address", 2)]));
    assert_eq!(running.states, counts(&[("sent", 3)]));
    assert_eq!(running.waiting, counts(&[("retrying", 1)]));
    assert_eq!(running.campaign_state(), CampaignState::Running);

    // Told again under another number, a step counts once.
    planner.tell(run.step()).await;
    dispatcher.tell(run.the_last()).await;
    eventually("the campaign is finished", || async {
        report(&world, &started.id).await.campaign_state() == CampaignState::Finished
    })
    .await;
    let ended = report(&world, &started.id).await;
    assert_eq!((ended.matched, ended.planned, ended.in_flight), (6, 4, 0));
    assert_eq!(ended.states, counts(&[("failed", 1), ("sent", 3)]));
    assert_eq!((ended.waiting.len(), ended.channels[0].parts), (0, 6));
    assert_eq!(ended.campaign_name, "Monday");
    let again = world.try_start(&started.id).await.expect("the same");
    assert_eq!(again.state(), CampaignState::Finished, "starting again does nothing more");
}

#[tokio::test]
async fn the_list_says_who_got_what_and_why_not() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let planner = world.neighbour(topology::SEGMENT_EVALUATOR);
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    planner.tell(run.step()).await;
    planner.tell(run.planned()).await;
    eventually("the plan was heard", || async { report(&world, &started.id).await.plan_complete })
        .await;
    let planned = messages(&world, &started.id, 0).await;
    assert_eq!(planned[0].state, "planned");
    dispatcher.tell(run.three_of_four()).await;
    dispatcher.tell(run.the_last()).await;
    eventually("the run ended", || async { report(&world, &started.id).await.in_flight == 0 })
        .await;
    let listed = messages(&world, &started.id, 0).await;
    for size in [1, 2, 4, 5, 6, 7] {
        assert_eq!(messages(&world, &started.id, size).await, listed, "{size} a page");
    }
    let named: Vec<(&str, &str, &str, &str)> =
        listed.iter().map(|it| (&*it.external_id, &*it.state, &*it.reason, &*it.skipped)).collect();
    assert_eq!(
        named,
        [
            ("C0", "sent", "", ""),
            ("C1", "sent", "", ""),
            ("C2", "sent", "", ""),
            ("C3", "failed", "unreachable", ""),
            ("C4", "", "", "no_address"),
            ("C5", "", "", "no_address"),
        ]
    );
    let failed = &listed[3];
    let id = MessageId::of(run.run, Channel::Sms, run.customer(3)).to_string();
    assert_eq!((failed.message_id.as_str(), failed.attempt), (id.as_str(), 1));
    // Told as it was before parts were told apart from what they cost.
    assert!(listed.iter().all(|it| it.credits == it.parts));
    let parts: Vec<u32> = listed.iter().map(|it| it.parts).collect();
    assert_eq!(parts, [2, 2, 2, 0, 0, 0], "the parts of what was sent, as the report sums them");
    assert_eq!((failed.provider_code.as_str(), listed[4].message_id.as_str()), ("30003", ""));
    assert_eq!(failed.change_time, Some(time::to_wire(world.clock.now())));
    let batches: Vec<&str> = listed.iter().map(|it| &*it.batch_id).collect();
    let batch = run.batch.to_string();
    let ours = batch.as_str();
    assert_eq!(batches, [ours, ours, ours, ours, "", ""], "who was skipped is in no batch");
}

#[tokio::test]
async fn a_plan_without_anyone_finishes_at_once() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let nobody = RunPlanned {
        campaign_id: run.campaign.to_wire(),
        run_id: run.run.to_wire(),
        ..RunPlanned::default()
    };
    world.neighbour(topology::SEGMENT_EVALUATOR).tell(Body::RunPlanned(nobody)).await;
    eventually("the campaign is finished", || async {
        report(&world, &started.id).await.campaign_state() == CampaignState::Finished
    })
    .await;
}

#[tokio::test]
async fn a_missed_run_is_reported_with_zeros_and_finishes_its_campaign() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let nominal = world.clock.now() - jiff::SignedDuration::from_hours(30);
    let missed = Body::RunMissed(RunMissed {
        campaign_id: run.campaign.to_wire(),
        run_id: run.run.to_wire(),
        occurrence_key: "now".into(),
        nominal_time: Some(time::to_wire(nominal)),
    });
    let scheduler = world.neighbour(topology::SCHEDULER);
    scheduler.tell(missed.clone()).await;
    scheduler.tell(missed).await;
    eventually("the campaign is finished", || async {
        report(&world, &started.id).await.campaign_state() == CampaignState::Finished
    })
    .await;
    let ended = report(&world, &started.id).await;
    assert_eq!((&ended.run, ended.plan_complete), (&started.run_id, true));
    assert_eq!((ended.matched, ended.planned, ended.in_flight), (0, 0, 0));
    assert!(ended.skipped.is_empty() && ended.states.is_empty() && ended.waiting.is_empty());
    assert_eq!(ended.start_time, Some(time::to_wire(nominal)));
    assert!(messages(&world, &started.id, 0).await.is_empty());
}

#[tokio::test]
async fn a_message_keeps_its_last_change_whatever_the_order() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    world.neighbour(topology::SEGMENT_EVALUATOR).tell(run.step()).await;
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    dispatcher.tell(run.the_last()).await;
    dispatcher.tell(run.three_of_four()).await;
    eventually("the earlier changes were heard", || async {
        messages(&world, &started.id, 0).await.first().is_some_and(|it| it.state == "sent")
    })
    .await;
    assert_eq!(messages(&world, &started.id, 0).await[3].state, "failed");
    assert_eq!(report(&world, &started.id).await.in_flight, 0);
}

#[tokio::test]
async fn wrong_requests_name_the_field_and_the_remedy() {
    let world = World::new().await;
    let draft = world.create(campaign("Monday")).await;
    let status = try_report(&world, &draft.id, "").await.expect_err("not started");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        format!(
            "campaign_id: campaign {} was not started, so there is nothing to report; start it \
             first",
            draft.id
        )
    );
    let started = world.started().await;
    let none = "0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11";
    let status = try_report(&world, none, "").await.expect_err("no campaign");
    assert_eq!(status.code(), Code::NotFound);
    let status = try_report(&world, &started.id, none).await.expect_err("no run");
    assert_eq!(
        status.message(),
        format!(
            "run_id: campaign {} has no run {none}; leave run_id out for the newest",
            started.id
        )
    );
    let named = try_report(&world, &started.id, &started.run_id).await.expect("its first run");
    assert_eq!(named.run, started.run_id);

    let run = Run::of(&world, &started);
    world.neighbour(topology::SEGMENT_EVALUATOR).tell(run.step()).await;
    eventually("the step was heard", || async { report(&world, &started.id).await.planned == 4 })
        .await;
    let status = page(&world, &started.id, 0, "x").await.expect_err("no token");
    assert_eq!(
        status.message(),
        "page_token: is not one that this method gave for this run; start without it"
    );
    let status = page(&world, &started.id, -1, "").await.expect_err("negative");
    assert_eq!(status.message(), "page_size: -1 is negative; give 1 to 1000, or none");
}

#[tokio::test]
async fn another_organisations_report_does_not_exist() {
    let world = World::new().await;
    let (_, other) = world.create_organisation("Other").await;
    let started = world.started().await;
    let request = GetReportRequest { campaign_id: started.id.clone(), run_id: started.run_id };
    let status = world.reports().get_report(with_key(request, &other)).await.expect_err("hidden");
    assert_eq!(status.code(), Code::NotFound);
    let request = ListReportMessagesRequest { campaign_id: started.id, ..Default::default() };
    let listed = world.reports().list_report_messages(with_key(request, &other)).await;
    assert_eq!(listed.expect_err("hidden").code(), Code::NotFound);
}

/// Sends a batch of four from its first change to its last.
fn batch_story(run: &Run<'_>, channel: Channel, number: u32) -> [Body; 2] {
    let batch = BatchId::of(run.run, channel, number);
    let told = |body: Body| match body {
        Body::DeliveryChanged(changed) => Body::DeliveryChanged(DeliveryChanged {
            batch_id: batch.to_wire(),
            channel: channel.into(),
            ..changed
        }),
        other => other,
    };
    [told(run.three_of_four()), told(run.the_last())]
}

#[tokio::test]
async fn replicas_that_hear_the_same_run_at_once_agree_on_its_sums_and_its_end() {
    const BATCHES: u32 = 30;
    let world = World::new().await;
    let _other = world.replica().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let sms = world.neighbour(topology::SMS_DISPATCHER);
    let email = world.neighbour(topology::EMAIL_DISPATCHER);
    let planner = world.neighbour(topology::SEGMENT_EVALUATOR);
    let closed = RunPlanned {
        campaign_id: run.campaign.to_wire(),
        run_id: run.run.to_wire(),
        matched: u64::from(8 * BATCHES),
        planned: u64::from(8 * BATCHES),
        ..RunPlanned::default()
    };
    let tell = |neighbour: &'static str, channel: Channel| {
        let teller = if neighbour == topology::SMS_DISPATCHER { &sms } else { &email };
        let run = &run;
        async move {
            for number in 0..BATCHES {
                for body in batch_story(run, channel, number) {
                    teller.tell(body).await;
                }
            }
        }
    };
    tokio::join!(
        tell(topology::SMS_DISPATCHER, Channel::Sms),
        tell(topology::EMAIL_DISPATCHER, Channel::Email),
        planner.tell(Body::RunPlanned(closed)),
    );
    eventually("the campaign is finished", || async {
        report(&world, &started.id).await.campaign_state() == CampaignState::Finished
    })
    .await;
    let ended = report(&world, &started.id).await;
    let each = u64::from(2 * BATCHES);
    assert_eq!((ended.planned, ended.in_flight), (4 * each, 0));
    assert_eq!(ended.states, counts(&[("failed", each), ("sent", 3 * each)]));
    assert_eq!(messages(&world, &started.id, 0).await.len() as u64, 4 * each);
}
