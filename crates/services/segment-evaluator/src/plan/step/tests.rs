//! A plan's steps, one by one, with imports between and within them.

use std::sync::Arc;

use carillon_broker::memory::MemoryBroker;
use carillon_contracts::{
    audience::v1::Customer,
    campaign::v1::audience::Selection as Chosen,
    events::v1::OrganisationChanged,
    ids::{CampaignId, CustomerId},
    jobs::v1::SmsContent,
};
use carillon_outbox::Outbox;
use carillon_sealing::WrappingKey;
use carillon_service_kit::Clock;
use carillon_tenancy::{Caller, Key, Tenancy};
use carillon_testkit::{TestDatabase, database};

use super::*;
use crate::{Migrator, domain::mask::Mask, store::NewRun, upsert::Upsert, vault::Vault};

struct World {
    evaluator: Evaluator,
    organisation: OrganisationId,
    run: RunId,
    file: TestDatabase,
}

/// Customer `number` with the phone of customer `phone`.
fn customer(number: usize, phone: usize) -> Customer {
    Customer {
        external_id: format!("C{number:05}"),
        phone: format!("+4420794{phone:05}"),
        subscribe_sms: Some(true),
        ..Customer::default()
    }
}

impl World {
    /// A run of SMS for everyone, before its first step. The loops do not run.
    async fn new(customers: Vec<Customer>) -> Self {
        let file = database::<Migrator>().await;
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().expect("valid"));
        let broker = Arc::new(MemoryBroker::new());
        let evaluator = Evaluator {
            database: file.database.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            outbox: Outbox::new("segment-evaluator", file.database.clone(), broker, clock),
            tenancy: Tenancy::new(file.database.clone()),
            vault: Vault::new(WrappingKey::new([7; 32]), file.database.clone()),
            links: carillon_sealing::Links::new("https://c.example", &WrappingKey::new([7; 32])),
            patience: carillon_broker::RESEND_AFTER,
            plan_soon: Arc::default(),
            release_soon: Arc::default(),
        };
        let organisation = OrganisationId::random();
        let run = RunId::of(CampaignId::random(), "now");
        let world = Self { evaluator, organisation, run, file };
        world.settle().await;
        world.import(customers).await;
        world
    }

    async fn settle(&self) {
        let organisation = Organisation {
            id: self.organisation.to_string(),
            time_zone: "Europe/Amsterdam".into(),
            ..Organisation::default()
        };
        let document = OrganisationChanged {
            organisation: Some(organisation),
            version: 1,
            ..OrganisationChanged::default()
        };
        let audience = Audience { selection: Some(Chosen::Everyone(true)) };
        let content = Content {
            sms: Some(SmsContent { text: "Hi".into(), downgrade: false }),
            ..Content::default()
        };
        let new = NewRun {
            run: self.run,
            organisation: self.organisation,
            campaign: uuid::Uuid::from_u128(1),
            run_day: 20_261_123,
            deadline: i64::MAX,
            audience: audience.encode_to_vec(),
            content: content.encode_to_vec(),
            traceparent: String::new(),
            created_at: 0,
        };
        let tx = self.evaluator.database.begin().await.expect("begun");
        self.evaluator.tenancy.apply(&tx, self.organisation, &document).await.expect("applied");
        store::add_run(&tx, new).await.expect("added");
        tx.commit().await.expect("committed");
    }

    async fn import(&self, customers: Vec<Customer>) {
        let mask = Mask::new(&[]).expect("every field");
        let key = Key { id: None, prefix: String::new(), test: false };
        let caller = Caller { organisation: self.organisation, key };
        let upsert = Upsert { caller: &caller, mask: &mask, by: "import" };
        let expected = customers.len();
        let outcome = self.evaluator.upsert(&upsert, customers).await.expect("imported");
        assert_eq!(outcome.stored as usize, expected);
    }

    async fn prepared(&self) -> Prepared {
        self.evaluator.prepare_run(self.organisation, self.run).await.expect("prepared")
    }

    async fn step(&self) {
        let prepared = self.prepared().await;
        assert!(matches!(self.evaluator.plan_step(&prepared).await, Ok(Stepped::Moved)));
    }

    async fn progress(&self) -> RunProgress {
        let reader = self.file.database.reader();
        let progress = store::run_progress(reader, self.organisation, self.run).await;
        progress.expect("read").expect("a run")
    }

    async fn is_planned(&self, number: usize) -> bool {
        let id = CustomerId::of(self.organisation, &format!("C{number:05}"));
        let batches = 0..self.progress().await.sms_batches;
        let batches: Vec<BatchId> =
            batches.map(|number| BatchId::of(self.run, Channel::Sms, number)).collect();
        let snapshot = self.file.database.snapshot().await.expect("a snapshot");
        let planned = store::recipients_of(&snapshot, self.organisation, &batches).await;
        planned.expect("read").contains(&id)
    }
}

fn everyone() -> Vec<Customer> {
    (0..501).map(|number| customer(number, number)).collect()
}

#[tokio::test]
async fn an_address_that_was_planned_is_not_planned_again_for_who_gets_it_later() {
    let mut rows = everyone();
    rows[4].subscribe_sms = Some(false);
    let world = World::new(rows).await;
    world.step().await;
    assert!(!world.progress().await.closed, "the first 500 are planned");
    world.import(vec![customer(900, 3), customer(901, 4), customer(902, 902)]).await;
    world.step().await;
    assert!(!world.is_planned(900).await, "C00003 got the message at that number");
    assert!(world.is_planned(901).await, "C00004 was skipped, so nobody got it at that number");
    assert!(world.is_planned(902).await);
    let skipped = world.progress().await.skipped;
    assert_eq!((skipped["duplicate_address"], skipped["unsubscribed"]), (1, 1));
}

#[tokio::test]
async fn an_address_that_comes_to_be_shared_while_a_step_is_decided_is_claimed_with_it() {
    let world = World::new(everyone()).await;
    let prepared = world.prepared().await;
    let settings = Organisation::default();
    let read = world.progress().await;
    let step = world.evaluator.decide_step(&prepared, &settings, read, BATCH_RECIPIENTS).await;
    world.import(vec![customer(900, 3)]).await;
    let tx = world.file.database.begin().await.expect("begun");
    world.evaluator.store_step(tx, &prepared, step.expect("decided")).await.expect("stored");
    assert_eq!(world.progress().await.step, 1, "an import does not send the plan back");
    world.step().await;
    assert!(world.is_planned(3).await && !world.is_planned(900).await);
    assert_eq!(world.progress().await.skipped["duplicate_address"], 1);
}

#[tokio::test]
async fn who_shares_an_address_before_either_is_planned_is_decided_by_the_plan() {
    let world = World::new(everyone()).await;
    world.import(vec![customer(900, 3)]).await;
    world.step().await;
    world.step().await;
    assert!(world.is_planned(3).await && !world.is_planned(900).await);
    assert!(world.progress().await.closed);
}

#[tokio::test]
async fn the_plan_of_a_cancelled_campaign_ends_with_what_was_planned() {
    let mut rows = everyone();
    rows[4].subscribe_sms = Some(false);
    let world = World::new(rows).await;
    world.step().await;
    let tx = world.file.database.begin().await.expect("begun");
    let campaign = CampaignId::new(uuid::Uuid::from_u128(1));
    let halt = carillon_contracts::events::v1::Halt::Cancelled;
    store::keep_halt(&tx, world.organisation, campaign, halt, 1).await.expect("kept");
    tx.commit().await.expect("committed");
    world.step().await;
    let progress = world.progress().await;
    assert!(progress.closed);
    assert_eq!((progress.matched, progress.planned, progress.step), (500, 499, 1));
    assert_eq!(progress.skipped["unsubscribed"], 1);
}
