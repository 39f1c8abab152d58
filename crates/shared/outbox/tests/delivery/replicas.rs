//! Several processes of one service on one database and one broker.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_broker::{Broker, Consumer, Depth, Publication, PublishError, Unavailable};
use carillon_testkit::eventually;

use crate::world::{Migrator, Pair, Seen, append_to, number, outbox_on};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_on_each_side_lose_nothing_and_handle_nothing_twice() {
    let pair = Pair::new().await;
    let seen = Seen::default();
    let outboxes = [pair.another_outbox().await, pair.another_outbox().await];
    for outbox in &outboxes {
        outbox.spawn(&pair.stop);
    }
    pair.listen_too(&seen).await;
    pair.listen_too(&seen).await;
    let mut writers = Vec::new();
    for writer in 0..8_u64 {
        let outbox = outboxes[usize::try_from(writer % 2).unwrap()].clone();
        let database = pair.producer.again::<Migrator>().await;
        writers.push(tokio::spawn(async move {
            for batch in 0..10 {
                let first = writer * 1_000 + batch * 10;
                append_to(&database, &outbox, first..first + 10).await;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    eventually("all handled", || async { seen.count() == 800 }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    assert!(seen.all_once(800));
    // A mark that stands at the number of events has passed over no gap.
    let last = "SELECT last_seq FROM streams";
    assert_eq!((number(&pair.producer.database, last).await, pair.mark().await), (800, 800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_leaves_its_part_to_the_other() {
    let pair = Pair::new().await;
    let seen = Seen::default();
    let (staying, leaving) = (pair.another_outbox().await, pair.another_outbox().await);
    staying.spawn(&pair.stop);
    pair.listen_too(&seen).await;
    let stop = carillon_service_kit::Stop::new();
    leaving.spawn(&stop);
    for round in 0..20 {
        pair.append(&leaving, round * 10..round * 10 + 10).await;
        if round == 10 {
            stop.now();
        }
    }
    eventually("all handled", || async { seen.count() == 200 }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    assert!(seen.all_once(200));
}

/// A connection to the broker that hangs: nothing is confirmed, and nothing fails.
struct Hanging(Arc<dyn Broker>);

#[async_trait]
impl Broker for Hanging {
    async fn publish(&self, _: Publication) -> Result<(), PublishError> {
        std::future::pending().await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable> {
        self.0.consume(queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable> {
        self.0.depth(queue).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_broker_hangs_does_not_keep_what_it_took() {
    let pair = Pair::new().await;
    let seen = Seen::default();
    pair.listen(&seen);
    let hanging = Arc::new(Hanging(pair.broker.again().await));
    let hanging = outbox_on(pair.producer.again::<Migrator>().await, hanging);
    hanging.spawn(&pair.stop);
    pair.append(&hanging, 0..100).await;
    pair.another_outbox().await.spawn(&pair.stop);
    eventually("the other publishes them", || async { seen.count() == 100 }).await;
    assert!(seen.all_once(100));
}
