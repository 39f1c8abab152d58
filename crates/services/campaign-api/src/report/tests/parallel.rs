//! Consumers of several streams, on one database at the same time.

use std::time::Duration;

use carillon_contracts::events::v1::Event;
use carillon_outbox::Handler as _;

use super::{History, Project, api, check_end, start};
use crate::CampaignApi;

const RUNS: usize = 8;
const ROUNDS: usize = 5;

/// As a consumer does: all events of a transaction are locked for, then handled in their order.
async fn handle(api: &CampaignApi, events: &[Event]) {
    let project = Project(api.clone());
    let tx = api.database.begin().await.expect("a transaction");
    project.lock(&tx, &events.iter().collect::<Vec<_>>()).await.expect("locked");
    for event in events {
        project.handle(&tx, event).await.expect("handled");
        tokio::task::yield_now().await;
    }
    tx.commit().await.expect("committed");
}

/// Row by row, the two would soon wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_tell_of_the_same_runs_in_other_orders_never_wait_in_a_circle() {
    let (api, _file) = api().await;
    let histories: Vec<History> = (0..RUNS).map(|_| History::of_one_batch()).collect();
    for history in &histories {
        start(&api, history).await;
    }
    let of_all = |index: usize| histories.iter().map(move |history| history.event(index));
    let planning: Vec<Event> = (0..3).flat_map(of_all).collect();
    let mut deliveries: Vec<Event> = (3..histories[0].len()).flat_map(of_all).collect();
    deliveries.reverse();
    let consumer = |events: Vec<Event>| {
        let api = api.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                handle(&api, &events).await;
            }
        })
    };
    let consumers = [consumer(planning), consumer(deliveries)];
    for done in consumers {
        tokio::time::timeout(Duration::from_secs(60), done).await.expect("in time").expect("done");
    }
    for history in &histories {
        check_end(&api, history, &history.truth()).await;
    }
}

/// On SQLite there is one who writes.
#[tokio::test(flavor = "multi_thread")]
async fn one_campaign_s_events_do_not_wait_for_another_s() {
    let (api, _file) = api().await;
    let (slow, fast) = (History::of_one_batch(), History::of_one_batch());
    for history in [&slow, &fast] {
        start(&api, history).await;
    }
    let project = Project(api.clone());
    let due = slow.event(0);
    let tx = api.database.begin().await.expect("a transaction");
    project.lock(&tx, &[&due]).await.expect("locked");
    project.handle(&tx, &due).await.expect("handled");
    if api.database.is_shared() {
        let events: Vec<Event> = (0..fast.len()).map(|index| fast.event(index)).collect();
        let handled = tokio::time::timeout(Duration::from_secs(30), handle(&api, &events));
        handled.await.expect("nothing holds it up");
        check_end(&api, &fast, &fast.truth()).await;
        let same = [slow.event(1)];
        let waiting = tokio::time::timeout(Duration::from_millis(200), handle(&api, &same));
        assert!(waiting.await.is_err(), "it is the same campaign's");
    }
    tx.commit().await.expect("committed");
    let rest: Vec<Event> = (1..slow.len()).map(|index| slow.event(index)).collect();
    handle(&api, &rest).await;
    check_end(&api, &slow, &slow.truth()).await;
}
