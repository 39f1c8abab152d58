//! Subscribers that know less than the producer keeps: new ones, and restored ones.

use std::time::Duration;

use carillon_broker::topology;
use carillon_outbox::figures;
use carillon_service_kit::{Stop, database::Sql as _};
use carillon_testkit::eventually;

use crate::world::{Pair, Seen};

/// Ten events were handled and dropped, and the consumer is down.
async fn after_ten(pair: &Pair, seen: &Seen) -> carillon_outbox::Outbox {
    let (outbox, stop) = (pair.outbox(), Stop::new());
    outbox.spawn(&pair.stop);
    pair.listen_until(seen, &stop);
    pair.append(&outbox, 0..10).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    stop.now();
    assert!(stop.drained(Duration::from_secs(60)).await);
    outbox
}

async fn change(pair: &Pair, statements: &[&str]) {
    let tx = pair.consumer.database.begin().await.unwrap();
    for sql in statements {
        tx.run(*sql, []).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_restored_database_lacks_are_counted_and_hold_up_no_later_ones() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    let outbox = after_ten(&pair, &seen).await;
    let restored = ["UPDATE marks SET mark = 4, highest = 4", "DELETE FROM inbox WHERE seq > 4"];
    change(&pair, &restored).await;
    pair.listen(&seen);
    pair.append(&outbox, 10..13).await;
    eventually("the later ones are handled", || async { seen.count() == 13 }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    assert_eq!((pair.mark().await, seen.all_once(13)), (13, true));
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    assert_eq!(figures(&pair.consumer.database).await.unwrap().missed, [(stream, 6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscriber_begins_with_what_is_kept_and_has_missed_nothing() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    let outbox = after_ten(&pair, &seen).await;
    change(&pair, &["DELETE FROM marks", "DELETE FROM inbox"]).await;
    pair.append(&outbox, 10..13).await;
    pair.listen(&seen);
    eventually("what is kept is handled", || async { seen.all_once(13) }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    assert_eq!(pair.mark().await, 13);
    let missed = figures(&pair.consumer.database).await.unwrap().missed;
    assert_eq!(missed.iter().map(|(_, missed)| missed).sum::<i64>(), 0);
}
