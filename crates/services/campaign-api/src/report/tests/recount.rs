use carillon_outbox::Handler as _;
use jiff::SignedDuration;

use super::{History, Project, api, start};
use crate::{
    CampaignApi,
    report::store::{self, tampering},
};

/// Batches that differ after the next night's recount.
pub(super) async fn next_night(api: &CampaignApi) -> i64 {
    api.clock.advance(SignedDuration::from_hours(24));
    while api.recount_some().await.expect("recounted") {}
    store::disagreements_of_all_runs(&api.database).await.expect("counted")
}

async fn told(api: &CampaignApi) {
    let history = History::of_one_batch();
    start(api, &history).await;
    let project = Project(api.clone());
    for index in 0..history.len() {
        let tx = api.database.begin().await.expect("a transaction");
        project.handle(&tx, &history.event(index)).await.expect("handled");
        tx.commit().await.expect("committed");
    }
}

#[tokio::test]
async fn a_message_that_was_tampered_with_is_found_at_night_until_it_is_right_again() {
    let (api, _file) = api().await;
    told(&api).await;
    told(&api).await;
    assert_eq!(next_night(&api).await, 0);
    for (wrong, right) in [
        ("state = 'failed'", "state = 'sent'"),
        ("units = 7", "units = 6"),
        ("parts = 7", "parts = 2"),
        ("state = 'queued', reason = 'throttled'", "state = 'sent', reason = ''"),
        ("batch = -1", "batch = 1"),
    ] {
        tampering::touch_runs(&api.database, api.clock.now_ms()).await;
        tampering::set_first_message(&api.database, wrong).await;
        assert!(!api.recount_some().await.expect("asked"), "it is once a night");
        assert_eq!(next_night(&api).await, 1, "{wrong}");
        assert!(tampering::first_run_differs(&api.database).await);
        tampering::set_first_message(&api.database, right).await;
        assert_eq!(next_night(&api).await, 0, "{right}");
    }
}

#[tokio::test]
async fn what_changed_just_now_is_left_for_the_next_night() {
    let (api, _file) = api().await;
    api.clock.advance(SignedDuration::from_hours(24));
    told(&api).await;
    tampering::set_first_message(&api.database, "state = 'failed'").await;
    while api.recount_some().await.expect("recounted") {}
    let found = store::disagreements_of_all_runs(&api.database).await.expect("counted");
    assert_eq!(found, 0, "its events may still be under way");
    assert_eq!(next_night(&api).await, 1);
}

#[tokio::test]
async fn runs_long_over_are_not_recounted_and_what_differs_is_not_forgotten() {
    let (api, _file) = api().await;
    told(&api).await;
    tampering::set_first_message(&api.database, "state = 'failed'").await;
    api.clock.advance(SignedDuration::from_hours(24 * 9));
    assert_eq!(next_night(&api).await, 0);
    tampering::touch_runs(&api.database, api.clock.now_ms()).await;
    assert_eq!(next_night(&api).await, 1);
    api.clock.advance(SignedDuration::from_hours(24 * 9));
    assert_eq!(next_night(&api).await, 1);
}

/// Of replicas that look at once, one has the piece.
#[tokio::test]
async fn a_piece_is_recounted_by_one_replica() {
    let (api, _file) = api().await;
    told(&api).await;
    api.clock.advance(SignedDuration::from_hours(24));
    if api.database.is_shared() {
        let tx = api.database.begin().await.expect("begun");
        let taken = store::take_recount(&tx, i64::MAX).await.expect("asked");
        assert!(taken.is_some());
        assert!(!api.recount_some().await.expect("asked"), "another has it");
        tx.rollback().await.expect("let go");
    }
    let (one, other) = tokio::join!(api.recount_some(), api.recount_some());
    assert!(one.expect("asked") || other.expect("asked"));
    while api.recount_some().await.expect("recounted") {}
    assert!(!api.recount_some().await.expect("asked"));
}
