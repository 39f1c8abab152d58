use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use carillon_broker::topology;
use carillon_contracts::{
    audience::v1::{Consent, Customer},
    campaign::v1::{Audience, CustomerList, Organisation, audience::Selection},
    events::v1::{BatchPlanned, Event, RunDue, RunPlanned, event::Body},
    ids::{BatchId, CampaignId, CustomerId, OrganisationId, RunId, unpack_customers},
    jobs::v1::{Channel, Content, EmailContent, Recipients, SendJob, SmsContent},
    time,
};
use carillon_sealing::{WrappingKey, decompress};
use carillon_service_kit::database::{Sql as _, differs};
use carillon_testkit::eventually;
use prost::Message as _;
use uuid::Uuid;

use crate::world::{WRAPPING, World, change, count, customer, next, reachable};

pub const CAMPAIGN: CampaignId = CampaignId::new(Uuid::from_u128(0xca));

pub fn run() -> RunId {
    RunId::of(CAMPAIGN, "now")
}

pub fn content() -> Content {
    Content {
        sms: Some(SmsContent {
            text: "Hi {UserName|friend}: {attr.city}".into(),
            downgrade: false,
        }),
        email: Some(EmailContent {
            subject: "{FirstName} {Points}".into(),
            text: String::new(),
            html: "<p>{Organisation}</p>".into(),
        }),
        template: None,
        test: false,
    }
}

/// A run of `CAMPAIGN` for everyone, a category, or `id,id,…`.
pub fn due(audience: &str) -> RunDue {
    let selection = match audience {
        "everyone" => Selection::Everyone(true),
        ids if ids.contains(',') => Selection::Customers(CustomerList {
            external_ids: ids.split(',').map(str::to_owned).collect(),
        }),
        category => Selection::Filter(format!("category:\"{category}\"")),
    };
    RunDue {
        campaign_id: CAMPAIGN.to_wire(),
        run_id: run().to_wire(),
        run_day: 20_261_123,
        occurrence_key: "now".into(),
        deadline: Some(time::to_wire("2026-11-24T00:00:00Z".parse().expect("valid"))),
        audience: Some(Audience { selection: Some(selection) }),
        content: Some(content()),
        ..RunDue::default()
    }
}

pub async fn run_due(world: &mut World, audience: &str) {
    tell_due(world, due(audience)).await;
}

pub async fn tell_due(world: &mut World, due: RunDue) {
    world.tell(topology::SCHEDULER, topology::RUN_DUE, Body::RunDue(due)).await;
}

/// What the service told of a run.
struct Told {
    steps: BTreeMap<u32, BatchPlanned>,
    closed: Vec<RunPlanned>,
}

impl Told {
    /// Everything up to the closing of the plan.
    async fn hear(world: &World) -> Self {
        let mut planned = world.events(topology::RUN_PLANNED).await;
        let mut cut = world.events(topology::BATCH_PLANNED).await;
        let body = |bytes: Bytes| Event::decode(bytes).expect("an event").body.expect("a body");
        let Body::RunPlanned(closed) = body(next(planned.as_mut()).await.expect("closed")) else {
            panic!("another event");
        };
        let mut told = Self { steps: BTreeMap::new(), closed: vec![closed] };
        while told.counted() < told.closed[0].matched {
            let Body::BatchPlanned(step) = body(next(cut.as_mut()).await.expect("a step")) else {
                panic!("another event");
            };
            assert!(told.steps.insert(step.step, step).is_none(), "a step is told once");
        }
        let more = tokio::time::timeout(Duration::from_millis(300), cut.next()).await;
        assert!(more.is_err(), "nothing is told beyond the totals");
        told
    }

    fn counted(&self) -> u64 {
        let planned: usize = self.planned().values().map(Vec::len).sum();
        planned as u64 + self.skipped().values().sum::<u64>()
    }

    fn planned(&self) -> HashMap<BatchId, Vec<CustomerId>> {
        let batches = self.steps.values().flat_map(|step| &step.batches);
        batches
            .map(|batch| {
                let ids = unpack_customers(&batch.customer_ids).expect("ids");
                (BatchId::from_wire(&batch.batch_id).expect("an id"), ids)
            })
            .collect()
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for skipped in self.steps.values().flat_map(|step| &step.skipped) {
            let ids = unpack_customers(&skipped.customer_ids).expect("ids");
            *counts.entry(skipped.reason.clone()).or_default() += ids.len() as u64;
        }
        counts
    }
}

/// The job's recipients, opened with the wrapping key that dispatchers have.
pub fn open(job: &SendJob) -> Recipients {
    let block = job.block.as_ref().expect("a block");
    let key = WrappingKey::new(WRAPPING);
    let key = key.unwrap(&block.key_id, &block.wrapped_key, &job.batch_id).expect("unwrapped");
    let packed = key.open(&block.ciphertext, &job.batch_id).expect("opened");
    let plain = decompress(&packed, 16 * 1024 * 1024).expect("decompressed");
    Recipients::decode(plain.as_slice()).expect("recipients")
}

async fn next_job(world: &World, channel: &str) -> SendJob {
    let mut jobs = world.consume(&topology::job_queue(channel, "bulk")).await;
    SendJob::decode(next(jobs.as_mut()).await.expect("a job")).expect("a job")
}

fn ids(world: &World, external: &[&str]) -> Vec<CustomerId> {
    external.iter().map(|id| CustomerId::of(world.organisation, id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_who_matched_is_planned_or_skipped_for_the_first_reason() {
    let mut world = World::new().await;
    let mut rows: Vec<Customer> = (0..8).map(reachable).collect();
    rows[1].consent = Consent::Given.into();
    rows[2] = Customer { consent: Consent::Withheld.into(), ..customer("C00002") };
    rows[3].subscribe_sms = Some(false);
    rows[4].phone = String::new();
    rows[5].phone = rows[0].phone.clone();
    rows[6].email = "c1@EXAMPLE.org".into();
    world.import(rows, &[]).await;
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    let skipped = told.skipped();
    let expected = BTreeMap::from([
        ("no_consent".to_owned(), 2),
        ("unsubscribed".to_owned(), 1),
        ("no_address".to_owned(), 1),
        ("duplicate_address".to_owned(), 2),
    ]);
    assert_eq!(skipped, expected);
    let planned: usize = told.planned().values().map(Vec::len).sum();
    let closed = &told.closed[0];
    assert_eq!((closed.matched, closed.planned, &closed.skipped), (16, planned as u64, &expected));
    assert_eq!(closed.matched, closed.planned + skipped.values().sum::<u64>());
    let sms = &told.planned()[&BatchId::of(run(), Channel::Sms, 0)];
    assert_eq!(*sms, ids(&world, &["C00000", "C00001", "C00006", "C00007"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn require_consent_leaves_out_who_did_not_give_it() {
    let settings = Organisation { require_consent: true, ..Organisation::default() };
    let mut world = World::with(settings).await;
    let given = Customer { consent: Consent::Given.into(), ..reachable(1) };
    world.import(vec![given, reachable(2)], &[]).await;
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    assert_eq!(told.skipped(), BTreeMap::from([("no_consent".to_owned(), 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_says_what_a_part_costs_each_of_its_recipients() {
    let rates = [("NL".to_owned(), 3)].into();
    let mut world = World::with(Organisation { rates, ..Organisation::default() }).await;
    let dutch = Customer { phone: "+31612345678".into(), ..reachable(2) };
    world.import(vec![reachable(1), dutch], &[]).await;
    run_due(&mut world, "everyone").await;
    for (channel, expected) in [("sms", [1, 3]), ("email", [1, 1])] {
        let recipients = open(&next_job(&world, channel).await).recipients;
        let rates: Vec<u32> = recipients.iter().map(|one| one.rate).collect();
        assert_eq!(rates, expected, "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_says_who_of_its_recipients_has_not_given_consent() {
    let mut world = World::new().await;
    let given = Customer { consent: Consent::Given.into(), ..reachable(1) };
    world.import(vec![given, reachable(2)], &[]).await;
    run_due(&mut world, "everyone").await;
    for channel in ["sms", "email"] {
        let recipients = open(&next_job(&world, channel).await).recipients;
        let without: Vec<bool> = recipients.iter().map(|one| one.without_consent).collect();
        assert_eq!(without, [false, true], "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_numbers_of_the_organisations_markets_are_sent_sms() {
    let markets = vec!["GB".to_owned(), "US".to_owned()];
    let mut world = World::with(Organisation { markets, ..Organisation::default() }).await;
    let mut rows: Vec<Customer> = (0..6).map(reachable).collect();
    rows[1].phone = "+12125550101".into();
    rows[2].phone = "+12425551234".into();
    rows[3].phone = "+31612345678".into();
    rows[4].phone = "+31612345678".into();
    rows[5].phone = "+31612345679".into();
    rows[5].subscribe_sms = Some(false);
    let imported = world.import(rows, &[]).await;
    assert_eq!(crate::world::reasons(&imported), []);
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    let sms = &told.planned()[&BatchId::of(run(), Channel::Sms, 0)];
    assert_eq!(*sms, ids(&world, &["C00000", "C00001"]));
    let email = &told.planned()[&BatchId::of(run(), Channel::Email, 0)];
    assert_eq!(email.len(), 6);
    let expected =
        BTreeMap::from([("market_not_allowed".to_owned(), 3), ("unsubscribed".to_owned(), 1)]);
    assert_eq!(told.skipped(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_its_recipients_with_the_variables_that_its_texts_use() {
    let mut world = World::new().await;
    let ann = Customer {
        display_name: "Annie".into(),
        last_name: "Hidden".into(),
        language: "en-GB".into(),
        points: 12,
        attributes: [("city".into(), "Delft".into())].into(),
        ..reachable(1)
    };
    world.import(vec![ann, reachable(2)], &[]).await;
    run_due(&mut world, "everyone").await;
    let sms = next_job(&world, "sms").await;
    assert_eq!(sms.batch_id, BatchId::of(run(), Channel::Sms, 0).to_wire());
    assert_eq!(sms.organisation_id, world.organisation.to_wire());
    assert_eq!((sms.run_day, sms.cause), (20_261_123, 0));
    let named = unpack_customers(&sms.customer_ids).expect("ids");
    assert_eq!(named, ids(&world, &["C00001", "C00002"]));
    let in_sms = sms.content.as_ref().expect("content");
    assert!(in_sms.sms.is_some() && in_sms.email.is_none(), "only the batch's channel");
    let recipients = open(&sms);
    assert_eq!(recipients.variables, ["UserName", "attr.city"]);
    let [first, second] = &recipients.recipients[..] else { panic!("two recipients") };
    assert_eq!((first.address.as_str(), first.language.as_str()), ("+442079400001", "en-GB"));
    assert_eq!(first.values, ["Annie", "Delft"]);
    assert_eq!(second.values, ["First2", ""]);
    let email = next_job(&world, "email").await;
    let recipients = open(&email);
    assert_eq!(recipients.variables, ["FirstName", "Points", "Organisation"]);
    assert_eq!(recipients.recipients[0].values, ["First1", "12", "Café Carillon"]);
    assert_eq!(recipients.recipients[0].address, "c1@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_whose_profile_does_not_open_is_skipped_and_stops_nobody() {
    let mut world = World::new().await;
    let mut rows: Vec<Customer> = (0..3).map(reachable).collect();
    rows[1].subscribe_email = Some(false);
    world.import(rows, &[]).await;
    let damaged = differs(
        "UPDATE customers SET profile = x'00' WHERE external_id = 'C00001'",
        "UPDATE customers SET profile = '\\x00' WHERE external_id = 'C00001'",
    );
    change(&world.database, damaged).await;
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    let sms = &told.planned()[&BatchId::of(run(), Channel::Sms, 0)];
    assert_eq!(*sms, ids(&world, &["C00000", "C00002"]));
    let expected =
        BTreeMap::from([("invalid_address".to_owned(), 1), ("unsubscribed".to_owned(), 1)]);
    assert_eq!(told.skipped(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_of_nobody_closes_at_once() {
    let mut world = World::new().await;
    world.import(vec![reachable(1)], &[]).await;
    run_due(&mut world, "VIP").await;
    let told = Told::hear(&world).await;
    let closed = &told.closed[0];
    assert_eq!((closed.matched, closed.planned, closed.skipped.len()), (0, 0, 0));
    assert!(told.steps.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_means_the_category_that_it_names() {
    let mut world = World::new().await;
    let vip = Customer { categories: vec!["VIP".into(), "New".into()], ..reachable(2) };
    world.import(vec![reachable(1), vip, reachable(3)], &[]).await;
    run_due(&mut world, "VIP").await;
    let told = Told::hear(&world).await;
    let sms = &told.planned()[&BatchId::of(run(), Channel::Sms, 0)];
    assert_eq!((sms, told.closed[0].matched), (&ids(&world, &["C00002"]), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_means_those_named_who_still_exist() {
    let mut world = World::new().await;
    world.import((0..4).map(reachable).collect(), &[]).await;
    run_due(&mut world, "C00003,gone,C00001,C00003").await;
    let told = Told::hear(&world).await;
    assert_eq!(told.closed[0].matched, 4, "two customers on two channels");
    let sms = &told.planned()[&BatchId::of(run(), Channel::Sms, 0)];
    assert_eq!(*sms, ids(&world, &["C00001", "C00003"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_of_again_plans_nothing_new() {
    let mut world = World::new().await;
    world.import((0..3).map(reachable).collect(), &[]).await;
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    assert_eq!(told.closed.len(), 1);
    run_due(&mut world, "everyone").await;
    let again = due("everyone");
    let body = Body::RunDue(again);
    world.tell_again(topology::SCHEDULER, topology::RUN_DUE, body, 2).await;
    let mut planned = world.events(topology::RUN_PLANNED).await;
    let silence = std::time::Duration::from_millis(600);
    assert!(tokio::time::timeout(silence, planned.next()).await.is_err(), "nothing more is told");
    assert_eq!(count(&world.database, "SELECT COUNT(*) FROM batches").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_audience_is_cut_in_steps_that_add_up() {
    let mut world = World::new().await;
    for from in [0, 600] {
        let rows: Vec<Customer> = (from..from + 600).map(reachable).collect();
        assert_eq!(world.import(rows, &[]).await.stored, 600);
    }
    let shared = Customer { phone: reachable(3).phone, ..reachable(1_199) };
    world.import(vec![shared], &["phone"]).await;
    run_due(&mut world, "everyone").await;
    let told = Told::hear(&world).await;
    assert_eq!(told.steps.len(), 3);
    let planned = told.planned();
    for (number, expected) in [(0, 500), (1, 500), (2, 199)] {
        assert_eq!(planned[&BatchId::of(run(), Channel::Sms, number)].len(), expected);
    }
    let everyone: HashSet<CustomerId> = planned.values().flatten().copied().collect();
    assert_eq!(everyone.len(), 1_200);
    let duplicates = BTreeMap::from([("duplicate_address".to_owned(), 1)]);
    assert_eq!(told.skipped(), duplicates, "shared by two customers of different steps");
    assert_eq!(told.closed[0].skipped, duplicates);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_cut_off_goes_on_where_it_stood_with_the_same_batches() {
    let mut world = World::new().await;
    let rows: Vec<Customer> = (0..600).map(reachable).collect();
    world.import(rows, &[]).await;
    // Without the organisation's document the run is stored and its plan has to wait.
    change(&world.database, "DELETE FROM tenants").await;
    run_due(&mut world, "everyone").await;
    let stored = "SELECT 1 FROM runs WHERE step = 0 AND NOT closed";
    eventually("the run is stored", async || {
        world.database.reader().row(stored, []).await.expect("read").is_some()
    })
    .await;
    let mut world = world.restart().await;
    world.settle(Organisation::default()).await;
    let told = Told::hear(&world).await;
    let expected: HashSet<BatchId> = [Channel::Sms, Channel::Email]
        .into_iter()
        .flat_map(|channel| (0..2).map(move |number| BatchId::of(run(), channel, number)))
        .collect();
    assert_eq!(told.planned().into_keys().collect::<HashSet<_>>(), expected);
    assert_eq!(told.closed[0].planned, 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_stopped_between_steps_leaves_out_nobody_and_repeats_nobody() {
    let mut world = World::new().await;
    for from in [0, 1_000] {
        let rows: Vec<Customer> = (from..from + 1_000).map(reachable).collect();
        world.import(rows, &[]).await;
    }
    run_due(&mut world, "everyone").await;
    let begun = "SELECT 1 FROM runs WHERE step > 0";
    eventually("a step is planned", async || {
        world.database.reader().row(begun, []).await.expect("read").is_some()
    })
    .await;
    let world = world.restart().await;
    let told = Told::hear(&world).await;
    assert_eq!(told.steps.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let planned = told.planned();
    let everyone: Vec<CustomerId> = planned.values().flatten().copied().collect();
    assert_eq!(everyone.len(), 4_000);
    assert_eq!(everyone.iter().collect::<HashSet<_>>().len(), 2_000);
    for number in 0..4 {
        for channel in [Channel::Sms, Channel::Email] {
            assert!(planned.contains_key(&BatchId::of(run(), channel, number)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organisations_take_turns() {
    let mut world = World::new().await;
    let rows: Vec<Customer> = (0..900).map(reachable).collect();
    world.import(rows, &[]).await;
    let other = OrganisationId::random();
    world.settle_as(other, "other", Organisation::default()).await;
    world.try_import("other", vec![reachable(1)], &[]).await.expect("imported");
    // Both runs have to be stored before either can be planned.
    change(&world.database, "CREATE TABLE kept AS SELECT * FROM tenants").await;
    change(&world.database, "DELETE FROM tenants").await;
    run_due(&mut world, "everyone").await;
    let first = std::mem::replace(&mut world.organisation, other);
    let campaign = CampaignId::new(Uuid::from_u128(0xcb));
    let second = RunDue {
        campaign_id: campaign.to_wire(),
        run_id: RunId::of(campaign, "now").to_wire(),
        ..due("everyone")
    };
    tell_due(&mut world, second).await;
    count_becomes(&world, "SELECT COUNT(*) FROM runs", 2).await;
    change(&world.database, "INSERT INTO tenants SELECT * FROM kept").await;
    count_becomes(&world, "SELECT COUNT(*) FROM runs WHERE closed", 2).await;
    let sql = "SELECT organisation_id FROM batches ORDER BY seq";
    let rows = world.database.reader().rows(sql, []).await.expect("read");
    let planned = rows.iter().map(|row| row.try_get_by_index::<Uuid>(0).expect("an id"));
    let planned: Vec<Uuid> = planned.collect();
    let [first, other] = [first.uuid(), other.uuid()];
    // A round that had passed the first when the documents came begins with the other.
    let in_turn =
        [[first, first, other, other, first, first], [other, other, first, first, first, first]];
    assert!(in_turn.contains(&planned.as_slice().try_into().expect("six batches")), "{planned:?}");
}

async fn count_becomes(world: &World, sql: &str, expected: i64) {
    eventually(sql, async || count(&world.database, sql).await == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_would_be_too_large_is_cut_in_smaller_batches() {
    let mut world = World::new().await;
    // What hardly compresses: 400 customers with 6,000 bytes each are more than 1 MiB.
    let noise = |number: usize, part: usize| -> String {
        let mut state = (number * 7_919 + part * 104_729 + 1) as u64;
        let characters = (0..500).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from_u32(0x1_0000 + (state >> 33) as u32 % 0xF_0000).expect("a character")
        });
        characters.collect()
    };
    for from in [0, 100, 200, 300] {
        let rows = (from..from + 100).map(|number| Customer {
            attributes: [
                ("a".into(), noise(number, 1)),
                ("b".into(), noise(number, 2)),
                ("c".into(), noise(number, 3)),
            ]
            .into(),
            ..reachable(number)
        });
        assert_eq!(world.import(rows.collect(), &[]).await.stored, 100);
    }
    let text = "{attr.a}{attr.b}{attr.c}".into();
    let content =
        Content { sms: Some(SmsContent { text, downgrade: false }), ..Content::default() };
    tell_due(&mut world, RunDue { content: Some(content), ..due("everyone") }).await;
    let told = Told::hear(&world).await;
    assert!(told.planned().len() > 1);
    assert_eq!(told.planned().values().map(Vec::len).sum::<usize>(), 400);
    let largest = count(&world.database, "SELECT MAX(LENGTH(block)) FROM batches").await;
    assert!(largest <= 1024 * 1024, "{largest}");
}
