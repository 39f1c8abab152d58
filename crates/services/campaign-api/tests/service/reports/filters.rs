use carillon_broker::topology;
use carillon_contracts::{
    ids::BatchId,
    jobs::v1::Channel,
    report::v1::{ListReportMessagesRequest, ReportMessage},
};
use carillon_testkit::eventually;

use super::{Run, batch_story, list, messages, report};
use crate::world::World;

#[tokio::test]
async fn the_list_of_one_batch_or_of_one_state_is_a_part_of_the_whole() {
    let world = World::new().await;
    let started = world.started().await;
    let run = Run::of(&world, &started);
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    for number in 0..5 {
        for body in batch_story(&run, Channel::Sms, number) {
            dispatcher.tell(body).await;
        }
    }
    world.neighbour(topology::SEGMENT_EVALUATOR).tell(run.step()).await;
    eventually("all were heard", || async {
        let report = report(&world, &started.id).await;
        (report.planned, report.in_flight, report.skipped.len()) == (20, 0, 1)
    })
    .await;
    let whole = messages(&world, &started.id, 0).await;
    let third = BatchId::of(run.run, Channel::Sms, 2).to_string();
    let only = |batch_id: &str, state: &str, page_size| ListReportMessagesRequest {
        campaign_id: started.id.clone(),
        batch_id: batch_id.into(),
        state: state.into(),
        page_size,
        ..ListReportMessagesRequest::default()
    };
    let part = |keep: &dyn Fn(&ReportMessage) -> bool| -> Vec<ReportMessage> {
        whole.iter().filter(|message| keep(message)).cloned().collect()
    };
    for size in [0, 1, 3, 4, 5] {
        let of_batch = list(&world, only(&third, "", size)).await.expect("a list");
        assert_eq!(of_batch, part(&|it| it.batch_id == third), "{size} a page");
        let failed = list(&world, only("", "failed", size)).await.expect("a list");
        assert_eq!(failed, part(&|it| it.state == "failed"), "{size} a page");
        let both = list(&world, only(&third, "sent", size)).await.expect("a list");
        assert_eq!(both, part(&|it| it.batch_id == third && it.state == "sent"), "{size} a page");
        assert_eq!((of_batch.len(), failed.len(), both.len()), (4, 5, 3));
    }
    let elsewhere = BatchId::of(run.run, Channel::Email, 0).to_string();
    assert_eq!(list(&world, only(&elsewhere, "", 0)).await.expect("a list"), []);
    let refused = list(&world, only("", "lost", 0)).await.unwrap_err();
    let rule = "state: 'lost' is not a known word; give one of: planned, queued, sending, sent, ";
    assert!(refused.message().starts_with(rule), "{}", refused.message());
    let refused = list(&world, only("x", "", 0)).await.unwrap_err();
    assert!(refused.message().starts_with("batch_id: "), "{}", refused.message());
}
