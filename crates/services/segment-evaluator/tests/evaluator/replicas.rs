//! Several processes on one database and broker. Where the database is a file there is only one.

use std::collections::{BTreeMap, HashMap, HashSet};

use carillon_broker::topology;
use carillon_contracts::{
    audience::v1::{Customer, ImportCustomersRequest},
    events::v1::{Event, RunDue, event::Body},
    ids::{CampaignId, CustomerId, RunId, unpack_customers},
    jobs::v1::{Content, SendJob, SmsContent},
};
use carillon_segment_evaluator::{ConsentLog, verify_consent_log};
use carillon_testkit::{eventually, is_distributed};
use prost::Message as _;
use uuid::Uuid;

use crate::{
    concurrency::miscounted,
    plans::{due, tell_due},
    releases::{jobs, tell, totals},
    world::{KEY, World, count, next, reachable, signed},
};

async fn replicas(world: &World) -> Vec<World> {
    let mut replicas = Vec::new();
    for _ in 0..if is_distributed() { 3 } else { 0 } {
        replicas.push(world.replica().await);
    }
    replicas
}

fn sms() -> Option<Content> {
    Some(Content {
        sms: Some(SmsContent { text: "Hi".into(), downgrade: false }),
        ..Content::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_plan_each_step_once_and_release_each_batch_once_into_the_same_places() {
    let mut world = World::new().await;
    for from in [0, 1_000] {
        world.import((from..from + 1_000).map(reachable).collect(), &[]).await;
    }
    let others = replicas(&world).await;
    let mut jobs = jobs(&world).await;
    for number in 0..10 {
        let campaign = CampaignId::new(Uuid::from_u128(number));
        let run_id = RunId::of(campaign, "now").to_wire();
        let due =
            RunDue { campaign_id: campaign.to_wire(), run_id, content: sms(), ..due("everyone") };
        tell_due(&mut world, due).await;
    }
    let closed = "SELECT COUNT(*) FROM runs WHERE closed";
    eventually("every plan is closed", async || count(&world.database, closed).await == 10).await;
    let released = "SELECT COUNT(*) FROM batches WHERE released_at IS NOT NULL";
    assert_eq!(count(&world.database, released).await, 2, "R is 2 for all of them together");
    let mut seen = HashSet::new();
    while seen.len() < 40 {
        let job = SendJob::decode(next(jobs.as_mut()).await.expect("a job")).expect("a job");
        assert!(seen.insert(job.batch_id.clone()), "a batch is released once");
        tell(&mut world, &job, totals(1, 0)).await;
    }
    let mut told: BTreeMap<(Vec<u8>, u32), usize> = BTreeMap::new();
    let mut steps = world.events(topology::BATCH_PLANNED).await;
    for _ in 0..40 {
        let event = Event::decode(next(steps.as_mut()).await.expect("a step")).expect("an event");
        let Some(Body::BatchPlanned(step)) = event.body else { panic!("another event") };
        let planned = step.batches.iter().map(|batch| batch.customer_ids.len() / 16).sum();
        assert!(told.insert((step.run_id.to_vec(), step.step), planned).is_none(), "told once");
    }
    assert_eq!(told.values().sum::<usize>(), 20_000);
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_import_the_same_customers_leave_one_consistent_result() {
    let world = World::new().await;
    let others = replicas(&world).await;
    let rows = |shift: usize| -> Vec<Customer> {
        let row = |number: usize| Customer {
            phone: reachable((number + shift) % 150).phone,
            cards: vec![format!("K{}", (number + shift) % 300)],
            points: 10,
            ..reachable(number)
        };
        let forward = (0..150).map(row);
        if shift.is_multiple_of(2) { forward.collect() } else { forward.rev().collect() }
    };
    let importing: Vec<_> = (0..8)
        .map(|shift| {
            let worlds: Vec<&World> = others.iter().chain([&world]).collect();
            let mut customers = worlds[shift % worlds.len()].customers.clone();
            let request = ImportCustomersRequest { customers: rows(shift), update_mask: None };
            tokio::spawn(async move {
                let request = signed(futures::stream::iter([request]), KEY);
                let mut answers = customers.import_customers(request).await.expect("accepted");
                answers.get_mut().message().await.expect("imported").expect("an answer")
            })
        })
        .collect();
    for import in importing {
        let answer = import.await.expect("ended");
        let rejected = u32::try_from(answer.rejects.len()).expect("few");
        assert_eq!(answer.stored + answer.unchanged + rejected, 150);
        assert!(answer.rejects.iter().all(|reject| reject.reason == "card_taken"));
    }
    assert_eq!(miscounted(&world).await, 0);
    let customers = count(&world.database, "SELECT COUNT(*) FROM customers").await;
    let checked = verify_consent_log(&world.database, world.organisation).await.expect("checked");
    assert_eq!(checked, ConsentLog::Whole(customers), "each was new once");
    let points = count(&world.database, "SELECT SUM(amount) FROM activities").await;
    assert_eq!(points, customers * 10 * 10_000, "each balance was set from 0 to 10 once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_one_message_whoever_imports_it_again_during_the_plan() {
    let mut world = World::new().await;
    for from in [0, 1_000, 2_000] {
        world.import((from..from + 1_000).map(reachable).collect(), &[]).await;
    }
    let others = replicas(&world).await;
    tell_due(&mut world, RunDue { content: sms(), ..due("everyone") }).await;
    // Each shares a number with one of the first, and is planned after them all.
    let late = |number: usize| Customer {
        external_id: format!("D{number:05}"),
        phone: reachable(number).phone,
        email: String::new(),
        ..reachable(number)
    };
    let importing: Vec<_> = (0..60)
        .map(|chunk| {
            let worlds: Vec<&World> = others.iter().chain([&world]).collect();
            let mut customers = worlds[chunk % worlds.len()].customers.clone();
            let rows = (chunk * 50..chunk * 50 + 50).map(late).collect();
            let request = ImportCustomersRequest { customers: rows, update_mask: None };
            tokio::spawn(async move {
                let request = signed(futures::stream::iter([request]), KEY);
                let mut answers = customers.import_customers(request).await.expect("accepted");
                answers.get_mut().message().await.expect("imported").expect("an answer")
            })
        })
        .collect();
    for import in importing {
        assert_eq!(import.await.expect("ended").stored, 50);
    }
    let closed = "SELECT COUNT(*) FROM runs WHERE closed";
    eventually("the plan is closed", async || count(&world.database, closed).await == 1).await;
    let mut phones: HashMap<CustomerId, usize> = HashMap::new();
    for number in 0..3_000 {
        for prefix in ["C", "D"] {
            let id = format!("{prefix}{number:05}");
            phones.insert(CustomerId::of(world.organisation, &id), number);
        }
    }
    let planned = planned(&world).await;
    let numbers: HashSet<usize> = planned.iter().map(|id| phones[id]).collect();
    assert_eq!((planned.len(), numbers.len()), (3_000, 3_000), "one message an address");
}

async fn planned(world: &World) -> Vec<CustomerId> {
    use carillon_service_kit::database::Sql as _;
    let rows = world.database.reader().rows("SELECT customer_ids FROM batches", []).await;
    let packed = rows.expect("read").into_iter().map(|row| row.try_get_by_index(0).expect("ids"));
    packed.flat_map(|packed: Vec<u8>| unpack_customers(&packed).expect("whole")).collect()
}
