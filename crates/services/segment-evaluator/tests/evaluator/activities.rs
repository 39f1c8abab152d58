use carillon_contracts::{
    audience::v1::{Activity, Customer},
    time,
};

use crate::world::{World, count, customer, reasons};

fn activity(event_id: &str, kind: &str, amount: &str) -> Activity {
    Activity {
        event_id: event_id.into(),
        external_id: "C1".into(),
        kind: kind.into(),
        at: Some(time::to_wire("2026-11-20T09:00:00Z".parse().expect("valid"))),
        amount: amount.into(),
        rating: String::new(),
    }
}

#[tokio::test]
async fn points_move_the_balance_once_and_an_upsert_records_the_difference() {
    let mut world = World::new().await;
    world.import(vec![Customer { points: 100, ..customer("C1") }], &[]).await;
    let rows = vec![activity("E1", "points", "-30"), activity("E2", "points", "5")];
    assert_eq!(world.import_activities(rows.clone()).await.stored, 2);
    assert_eq!(world.import_activities(rows).await.unchanged, 2);
    assert_eq!(world.get("C1").await.points, 75);
    world.import(vec![Customer { points: 10, ..customer("C1") }], &["points"]).await;
    let points = "FROM activities WHERE kind = 'points'";
    let sum = count(&world.database, &format!("SELECT SUM(amount) {points}")).await;
    let entries = count(&world.database, &format!("SELECT COUNT(*) {points}")).await;
    assert_eq!((sum, entries), (10 * 10_000, 4), "100 - 30 + 5 - 65");
}

#[tokio::test]
async fn an_event_id_stands_for_one_event() {
    let mut world = World::new().await;
    world.import(vec![customer("C1")], &[]).await;
    let rows = vec![
        activity("E1", "purchase", "9.90"),
        activity("E1", "purchase", "9.9"),
        activity("E1", "purchase", "9.91"),
        Activity { external_id: "C9".into(), ..activity("E2", "visit", "") },
    ];
    let answer = world.import_activities(rows).await;
    assert_eq!((answer.stored, answer.unchanged), (1, 1));
    assert_eq!(reasons(&answer), [(2, "event_id_reused"), (3, "customer_unknown")]);
}
