use carillon_broker::topology;
use carillon_contracts::{
    events::v1::{DeliveryChanged, event::Body},
    ids::{CampaignId, RunId},
    ops::v1::{
        DiscardParkedRequest, GetParkedRequest, GetStatusRequest, ListParkedRequest, Parked,
        ReplayParkedRequest,
    },
};
use carillon_outbox::parked::park_unnumbered;
use carillon_testkit::eventually;
use tonic::{Code, Response, Status};

use crate::world::{PLATFORM, World, with_key};

async fn list(world: &World, service: &str) -> Result<Response<Vec<Parked>>, Status> {
    let request = ListParkedRequest { service: service.into(), page_size: 0 };
    let listed = world.operators().list_parked(with_key(request, PLATFORM)).await?;
    Ok(listed.map(|listed| listed.parked))
}

async fn park(world: &World) {
    let parked =
        park_unnumbered(world.around(), &world.clock, "jobs.sms.bulk", b"\x08\x01", "cut off");
    parked.await.expect("parked");
}

#[tokio::test]
async fn the_status_shows_every_service_and_names_those_out_of_reach() {
    let world = World::new().await;
    park(&world).await;
    let request = with_key(GetStatusRequest {}, PLATFORM);
    let status = world.operators().get_status(request).await.expect("a status").into_inner();
    let names: Vec<&str> = status.services.iter().map(|service| &*service.service).collect();
    assert_eq!(names, ["campaign-api", "billing", "scheduler"]);
    let [own, billing, scheduler] = &status.services[..] else { panic!("three") };
    assert_eq!((own.unreachable.as_str(), own.parked), ("", 0));
    assert_eq!((billing.unreachable.as_str(), billing.parked), ("", 1));
    assert!(scheduler.unreachable.starts_with("scheduler can't be reached"), "{scheduler:?}");
    let outbox = own.backlogs.iter().find(|backlog| backlog.stage == "outbox");
    assert_eq!(outbox.expect("an outbox").count, 0);
}

#[tokio::test]
async fn what_is_parked_is_listed_shown_and_discarded() {
    let world = World::new().await;
    park(&world).await;
    let listed = list(&world, "").await.expect("listed");
    assert_eq!(listed.metadata().get("carillon-unreachable").expect("named"), "scheduler");
    let [parked] = &listed.get_ref()[..] else { panic!("one") };
    assert_eq!((parked.service.as_str(), parked.source.as_str()), ("billing", "jobs.sms.bulk"));
    assert_eq!((parked.error.as_str(), parked.body.len()), ("cut off", 0));
    assert_eq!(list(&world, "billing").await.expect("listed").get_ref(), listed.get_ref());
    assert_eq!(list(&world, "campaign-api").await.expect("listed").get_ref(), &[]);

    let id = parked.id.clone();
    let request = with_key(GetParkedRequest { id: id.clone() }, PLATFORM);
    let shown = world.operators().get_parked(request).await.expect("shown").into_inner();
    assert_eq!(shown.body, b"\x08\x01");
    let request = || with_key(DiscardParkedRequest { id: id.clone() }, PLATFORM);
    world.operators().discard_parked(request()).await.expect("discarded");
    assert_eq!(list(&world, "billing").await.expect("listed").get_ref(), &[]);
    let status = world.operators().discard_parked(request()).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_replayed_job_is_on_its_queue_again() {
    use carillon_broker::Broker as _;
    let world = World::new().await;
    let mut queue = world.broker.consume("jobs.sms.bulk", 10).await.expect("a queue");
    park(&world).await;
    let id = list(&world, "billing").await.expect("listed").get_ref()[0].id.clone();
    let request = with_key(ReplayParkedRequest { id }, PLATFORM);
    world.operators().replay_parked(request).await.expect("replayed");
    let delivery = queue.next().await.expect("a delivery");
    assert_eq!(&delivery.body[..], b"\x08\x01");
    assert_eq!(list(&world, "billing").await.expect("listed").get_ref(), &[]);
}

#[tokio::test]
async fn an_event_that_can_not_be_handled_is_parked_and_fails_again_when_replayed() {
    let world = World::new().await;
    let started = world.started().await;
    let campaign: CampaignId = started.id.parse().expect("an id");
    let run: RunId = started.run_id.parse().expect("an id");
    let without_totals = DeliveryChanged {
        campaign_id: campaign.to_wire(),
        run_id: run.to_wire(),
        ..DeliveryChanged::default()
    };
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    dispatcher.tell(Body::DeliveryChanged(without_totals)).await;
    eventually("it is parked", || async {
        !list(&world, "campaign-api").await.expect("listed").get_ref().is_empty()
    })
    .await;
    let parked = list(&world, "").await.expect("listed").into_inner().remove(0);
    assert_eq!(parked.source, "sms-dispatcher/delivery.changed");
    assert_eq!(parked.error, "report: no totals");
    let request = with_key(GetParkedRequest { id: parked.id.clone() }, PLATFORM);
    let shown = world.operators().get_parked(request).await.expect("shown").into_inner();
    assert!(shown.text.contains("DeliveryChanged"), "{}", shown.text);

    let request = with_key(ReplayParkedRequest { id: parked.id.clone() }, PLATFORM);
    let status = world.operators().replay_parked(request).await.expect_err("it fails again");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        format!("id: '{}' failed again and stays parked: report: no totals", parked.id)
    );
    let request = with_key(DiscardParkedRequest { id: parked.id }, PLATFORM);
    world.operators().discard_parked(request).await.expect("discarded");
    assert_eq!(list(&world, "campaign-api").await.expect("listed").get_ref(), &[]);
}

#[tokio::test]
async fn only_the_platform_operates_and_wrong_names_are_told() {
    let world = World::new().await;
    let denied = world.operators().get_status(world.ours(GetStatusRequest {})).await;
    let denied = denied.expect_err("denied");
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(
        denied.message(),
        "api-key: this is an organisation's key, and only the platform's operates the server; set \
         --api-key or CARILLON_API_KEY to that"
    );
    let request = world.ours(DiscardParkedRequest::default());
    let denied = world.operators().discard_parked(request).await.expect_err("denied");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let status = list(&world, "biling").await.expect_err("unknown");
    assert_eq!(
        status.message(),
        "service: 'biling' is not a service; there are campaign-api, billing, scheduler"
    );
    let get = |id: &str| with_key(GetParkedRequest { id: id.into() }, PLATFORM);
    let status = world.operators().get_parked(get("7")).await.expect_err("no service");
    assert_eq!(
        status.message(),
        "id: '7' is not a service; there are campaign-api, billing, scheduler"
    );
    let status = world.operators().get_parked(get("billing/x")).await.expect_err("no number");
    assert_eq!(status.message(), "id: 'billing/x' is none of billing's, such as billing/7");
    let status = world.operators().get_parked(get("scheduler/7")).await.expect_err("down");
    assert_eq!(status.code(), Code::Unavailable);
}
