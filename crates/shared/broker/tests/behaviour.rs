//! What every broker promises, in memory and on RabbitMQ alike.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use carillon_broker::{
    Broker, Consumer, Delivery, Depth, Destination, Publication, PublishError, topology,
};
use carillon_testkit::{broker, eventually};
use tokio::time::timeout;

const QUEUE: &str = "jobs.sms.bulk";
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough to see what should not come.
const A_WHILE: Duration = Duration::from_millis(300);

fn to_queue(queue: &str, body: &str) -> Publication {
    Publication {
        to: Destination::Queue(queue.to_owned()),
        headers: vec![("carillon-seq".to_owned(), body.to_owned())],
        body: body.to_owned().into(),
    }
}

fn event(stream: &str) -> Publication {
    Publication {
        to: Destination::Event(stream.to_owned()),
        headers: Vec::new(),
        body: "event".into(),
    }
}

async fn publish_all(broker: &dyn Broker, bodies: impl IntoIterator<Item = usize>) {
    for body in bodies {
        broker.publish(to_queue(QUEUE, &body.to_string())).await.unwrap();
    }
}

async fn next(consumer: &mut dyn Consumer) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("in time").expect("a delivery")
}

async fn is_quiet(consumer: &mut dyn Consumer) -> bool {
    timeout(A_WHILE, consumer.next()).await.is_err()
}

async fn shows(broker: &dyn Broker, queue: &str, ready: usize, consumers: usize) {
    let wanted = Depth { ready, consumers };
    eventually(&format!("{queue} shows {wanted:?}"), || async {
        broker.depth(queue).await.unwrap() == wanted
    })
    .await;
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_delivered_with_its_headers_and_gone_when_acked() {
    let test = broker().await;
    publish_all(&*test.broker, [7]).await;
    let mut consumer = test.broker.consume(QUEUE, 10).await.unwrap();
    let delivery = next(&mut *consumer).await;
    assert_eq!((body(&delivery).as_str(), delivery.delivery_count), ("7", 0));
    assert_eq!(delivery.headers, [("carillon-seq".to_owned(), "7".to_owned())]);
    delivery.ack();
    assert!(is_quiet(&mut *consumer).await);
    drop(consumer);
    shows(&*test.broker, QUEUE, 0, 0).await;
    let mut later = test.broker.consume(QUEUE, 10).await.unwrap();
    assert!(is_quiet(&mut *later).await, "it does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_nobody_waits_for_any_longer_takes_nothing() {
    let test = broker().await;
    for patience in (0..60).map(|step| Duration::from_micros(100 * step)) {
        let _ = timeout(patience, test.broker.consume(QUEUE, 10)).await;
    }
    publish_all(&*test.broker, [1]).await;
    shows(&*test.broker, QUEUE, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_requeued_or_dropped_comes_again_and_is_counted() {
    let test = broker().await;
    publish_all(&*test.broker, [1]).await;
    let mut consumer = test.broker.consume(QUEUE, 1).await.unwrap();
    next(&mut *consumer).await.requeue();
    let second = next(&mut *consumer).await;
    assert_eq!(second.delivery_count, 1);
    drop(second);
    let third = next(&mut *consumer).await;
    assert_eq!((body(&third).as_str(), third.delivery_count), ("1", 2));
    third.ack();
    shows(&*test.broker, QUEUE, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_leaves_unanswered_goes_to_the_next() {
    let test = broker().await;
    publish_all(&*test.broker, 0..5).await;
    let mut first = test.broker.consume(QUEUE, 10).await.unwrap();
    let taken = next(&mut *first).await;
    drop((first, taken));
    let mut second = test.broker.consume(QUEUE, 10).await.unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let delivery = next(&mut *second).await;
        assert!(seen.insert(body(&delivery)), "each once");
        delivery.ack();
    }
    assert!(is_quiet(&mut *second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_may_be_acked_after_its_consumer_is_gone() {
    let test = broker().await;
    publish_all(&*test.broker, 0..2).await;
    let mut consumer = test.broker.consume(QUEUE, 10).await.unwrap();
    let taken = next(&mut *consumer).await;
    let (kept, returned) = (body(&taken), if body(&taken) == "0" { "1" } else { "0" });
    drop(consumer);
    eventually("the other went back", || async {
        test.broker.depth(QUEUE).await.unwrap().ready == 1
    })
    .await;
    taken.ack();
    shows(&*test.broker, QUEUE, 1, 0).await;
    let mut later = test.broker.consume(QUEUE, 10).await.unwrap();
    let delivery = next(&mut *later).await;
    assert_eq!(body(&delivery), returned);
    delivery.ack();
    assert!(is_quiet(&mut *later).await, "{kept} was acked");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_prefetch_is_in_hand() {
    let test = broker().await;
    publish_all(&*test.broker, 0..3).await;
    let mut consumer = test.broker.consume(QUEUE, 2).await.unwrap();
    let (first, _second) = (next(&mut *consumer).await, next(&mut *consumer).await);
    assert!(is_quiet(&mut *consumer).await);
    assert_eq!(test.broker.depth(QUEUE).await.unwrap().ready, 1);
    first.ack();
    next(&mut *consumer).await.ack();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_each_subscriber_and_nobody_else() {
    let test = broker().await;
    let stream = topology::stream(topology::SCHEDULER, topology::RUN_DUE);
    test.broker.publish(event(&stream)).await.unwrap();
    for (queue, bound) in topology::queues() {
        let ready = usize::from(bound.as_ref() == Some(&stream));
        shows(&*test.broker, &queue, ready, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_nowhere_is_returned() {
    let test = broker().await;
    for nowhere in [event("scheduler/nothing"), to_queue("jobs.pigeon.bulk", "1")] {
        let returned = test.broker.publish(nowhere).await;
        assert!(matches!(returned, Err(PublishError::Returned(_))), "{returned:?}");
    }
    assert!(test.broker.consume("jobs.pigeon.bulk", 1).await.is_err());
    assert!(test.broker.depth("jobs.pigeon.bulk").await.is_err());
    // Whoever published it goes on as if nothing had been.
    publish_all(&*test.broker, [1]).await;
    shows(&*test.broker, QUEUE, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn among_many_at_once_exactly_the_unroutable_are_returned() {
    let test = broker().await;
    let mut publishing = Vec::new();
    for number in 0..400 {
        let broker = Arc::clone(&test.broker);
        publishing.push(tokio::spawn(async move {
            let queue = if number % 4 == 0 { "jobs.pigeon.bulk" } else { QUEUE };
            (number, broker.publish(to_queue(queue, &number.to_string())).await)
        }));
    }
    for published in publishing {
        let (number, result) = published.await.unwrap();
        assert_eq!(result.is_err(), number % 4 == 0, "{number}: {result:?}");
    }
    shows(&*test.broker, QUEUE, 300, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_queue() {
    let test = broker().await;
    let other = test.again().await;
    let mut consumers =
        [test.broker.consume(QUEUE, 1).await.unwrap(), other.consume(QUEUE, 1).await.unwrap()];
    shows(&*test.broker, QUEUE, 0, 2).await;
    publish_all(&*other, 0..20).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        let [one, two] = &mut consumers;
        let delivery = timeout(PATIENCE, async {
            tokio::select! {
                delivery = one.next() => delivery,
                delivery = two.next() => delivery,
            }
        });
        let delivery = delivery.await.expect("in time").expect("a delivery");
        assert!(seen.insert(body(&delivery)), "each once");
        delivery.ack();
    }
    shows(&*test.broker, QUEUE, 0, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_everything_goes_on() {
    let test = broker().await;
    let stream = topology::stream(topology::SCHEDULER, topology::RUN_DUE);
    publish_all(&*test.broker, 0..3).await;
    test.purge(QUEUE).await;
    shows(&*test.broker, QUEUE, 0, 0).await;
    publish_all(&*test.broker, 0..3).await;
    test.wipe().await;
    test.broker.publish(event(&stream)).await.unwrap();
    shows(&*test.broker, QUEUE, 0, 0).await;
    for subscriber in topology::subscribers(topology::RUN_DUE, topology::SCHEDULER) {
        shows(&*test.broker, &topology::event_queue(subscriber, &stream), 1, 0).await;
    }
}
