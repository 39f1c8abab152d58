//! Whatever is told twice, late or out of order: the sums hold at every read, and the end is the
//! truth.

mod history;
mod parallel;
mod recount;

use carillon_broker::memory::MemoryBroker;
use carillon_contracts::{
    campaign::v1::CampaignState,
    ids::CustomerId,
    report::v1::{ChannelReport, GetReportRequest, Report},
};
use carillon_outbox::{Handler as _, Outbox};
use carillon_sealing::{Links, ReplyLinks, WrappingKey};
use carillon_service_kit::{Clock, rpc::in_process};
use carillon_tenancy::Tenancy;
use carillon_testkit::{TestDatabase, database};
use history::{History, Truth, histories};
use proptest::{prelude::*, test_runner::TestRunner};
use tonic::service::Routes;

use super::{
    Project,
    cursor::Cursor,
    listing::{Only, entries},
};
use crate::{
    CampaignApi, Migrator,
    audience::Audience,
    store::{CampaignRow, insert_campaign, save_campaign},
};

async fn api() -> (CampaignApi, TestDatabase) {
    let own = database::<Migrator>().await;
    let clock = Clock::manual("2026-11-30T10:00:00Z".parse().expect("a timestamp"));
    let broker = std::sync::Arc::new(MemoryBroker::new());
    let api = CampaignApi {
        database: own.database.clone(),
        clock: clock.clone(),
        outbox: Outbox::new("campaign-api", own.database.clone(), broker, clock),
        tenancy: Tenancy::new(own.database.clone()),
        audience: Audience::new(in_process(Routes::default())),
        email_dispatcher: in_process(Routes::default()),
        links: Links::new("http://127.0.0.1", &WrappingKey::new([7; 32])),
        reply_links: ReplyLinks::new("http://127.0.0.1", &WrappingKey::new([7; 32])),
        wrapping_key: WrappingKey::new([7; 32]),
        platform_key: [0; 32],
    };
    (api, own)
}

/// Stores the history's campaign as one that was started.
async fn start(api: &CampaignApi, history: &History) {
    let row = CampaignRow {
        id: history.campaign,
        document: carillon_contracts::campaign::v1::Campaign::default(),
        state: CampaignState::Draft,
        version: 1,
        created_ms: 0,
        updated_ms: 0,
        started_ms: None,
        halt_told: None,
        archived_ms: None,
    };
    let tx = api.database.begin().await.expect("a transaction");
    insert_campaign(&tx, history.organisation, &row, None).await.expect("stored");
    let started =
        CampaignRow { state: CampaignState::Running, version: 2, started_ms: Some(0), ..row };
    save_campaign(&tx, history.organisation, &started).await.expect("started");
    tx.commit().await.expect("committed");
}

async fn report(api: &CampaignApi, history: &History) -> Report {
    let request =
        GetReportRequest { campaign_id: history.campaign.to_string(), run_id: String::new() };
    api.report(history.organisation, request).await.expect("a report")
}

fn check_sums(report: &Report) {
    let skipped: u64 = report.skipped.values().sum();
    assert_eq!(report.matched, report.planned + skipped);
    let settled: u64 = report.states.values().sum();
    assert_eq!(report.planned, settled + report.in_flight);
    assert!(report.waiting.values().sum::<u64>() <= report.in_flight);
    let over = |figure: fn(&ChannelReport) -> u64| report.channels.iter().map(figure).sum::<u64>();
    assert_eq!(over(|channel| channel.matched), report.matched);
    assert_eq!(over(|channel| channel.planned), report.planned);
    assert_eq!(over(|channel| channel.in_flight), report.in_flight);
    for channel in &report.channels {
        assert_eq!(channel.matched, channel.planned + channel.skipped.values().sum::<u64>());
        assert_eq!(channel.planned, channel.in_flight + channel.states.values().sum::<u64>());
    }
}

/// The whole list, page by page.
async fn list(api: &CampaignApi, history: &History, size: usize) -> Vec<(Vec<u8>, String, String)> {
    let snapshot = api.database.snapshot().await.expect("a snapshot");
    let run = super::store::newest_run(&snapshot, history.organisation, history.campaign).await;
    let run = run.expect("read").expect("a run").key;
    let (mut listed, mut from) = (Vec::new(), Some(Cursor::first()));
    while let Some(cursor) = from.take() {
        let mut page =
            entries(&snapshot, run, &Only::default(), cursor, size + 1).await.expect("a page");
        if page.len() > size {
            from = page.pop().map(|entry| entry.at);
        }
        for entry in page {
            let fate = match entry.fate {
                super::listing::Fate::Planned => "planned".to_owned(),
                super::listing::Fate::Message(row) => format!("{}/{}", row.state, row.reason),
                super::listing::Fate::Skipped(reason) => format!("skipped/{reason}"),
            };
            let customer = entry.customer.map(CustomerId::to_wire).unwrap_or_default().to_vec();
            listed.push((customer, entry.channel, fate));
        }
    }
    listed
}

async fn check_end(api: &CampaignApi, history: &History, truth: &Truth) {
    let report = report(api, history).await;
    assert!(report.plan_complete);
    assert_eq!(report.planned, truth.planned);
    assert_eq!(report.skipped, truth.skipped);
    assert_eq!((&report.states, &report.waiting), (&truth.states, &truth.waiting));
    let cost = report.channels.iter().map(|channel| (channel.parts, channel.credits));
    let (parts, credits): (Vec<u64>, Vec<u64>) = cost.unzip();
    assert_eq!((parts.iter().sum(), credits.iter().sum()), (truth.parts, truth.credits));
    let finished =
        if report.in_flight == 0 { CampaignState::Finished } else { CampaignState::Running };
    assert_eq!(report.campaign_state(), finished);
    assert_eq!(recount::next_night(api).await, 0);
    for size in [3, 1_000] {
        let mut listed = list(api, history, size).await;
        listed.sort();
        assert_eq!(listed, truth.list);
    }
}

#[test]
fn sums_hold_at_every_prefix_and_the_end_is_the_truth() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (api, _file) = runtime.block_on(api());
    let mut runner = TestRunner::new(ProptestConfig { cases: 48, ..ProptestConfig::default() });
    let outcome = runner.run(&histories(), |(history, told)| {
        let history = history.with_new_ids();
        runtime.block_on(async {
            start(&api, &history).await;
            let project = Project(api.clone());
            for index in &told {
                let tx = api.database.begin().await.expect("a transaction");
                project.handle(&tx, &history.event(*index)).await.expect("handled");
                tx.commit().await.expect("committed");
                check_sums(&report(&api, &history).await);
            }
            check_end(&api, &history, &history.truth()).await;
        });
        Ok(())
    });
    outcome.expect("the property holds");
}

#[tokio::test]
async fn totals_that_were_lost_are_made_up_for_by_later_ones() {
    let (api, _file) = api().await;
    let history = History::of_one_batch();
    start(&api, &history).await;
    let project = Project(api.clone());
    let last = history.len() - 1;
    for index in [0, 1, 2, last] {
        let tx = api.database.begin().await.expect("a transaction");
        project.handle(&tx, &history.event(index)).await.expect("handled");
        tx.commit().await.expect("committed");
    }
    let report = report(&api, &history).await;
    check_sums(&report);
    assert_eq!(report.states, history.truth().states);
    assert_eq!(report.campaign_state(), CampaignState::Finished);
}

#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    let (api, _file) = api().await;
    let history = History::of_one_batch();
    start(&api, &history).await;
    let project = Project(api.clone());
    let tx = api.database.begin().await.expect("a transaction");
    for (event, expected) in history.contradictions() {
        let error = project.handle(&tx, &event).await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}
