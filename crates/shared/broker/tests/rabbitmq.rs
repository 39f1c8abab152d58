//! What only a broker on the other side of a network can do to us. Where the suite runs in
//! memory there is no such broker, and nothing here to prove.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod tls;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use carillon_broker::{Broker, Destination, Publication, PublishError, amqp::AmqpBroker, topology};
use carillon_testkit::{Rabbit, eventually, is_distributed};
use futures::future::join_all;
use tokio::time::timeout;

const QUEUE: &str = "jobs.email.bulk";
const PATIENCE: Duration = Duration::from_secs(120);

fn job(body: &str) -> Publication {
    Publication {
        to: Destination::Queue(QUEUE.to_owned()),
        headers: Vec::new(),
        body: body.to_owned().into(),
    }
}

/// As the relay does: until it is confirmed.
async fn publish_until_confirmed(broker: &dyn Broker, body: &str) {
    let confirmed = async {
        while broker.publish(job(body)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, confirmed).await.expect("the broker comes back");
}

/// As a service does: again and again, until whoever takes the bodies has enough.
async fn consume_while(broker: &dyn Broker, mut wants_more: impl FnMut(String) -> bool) {
    loop {
        let Ok(mut consumer) = broker.consume(QUEUE, 10).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while let Some(delivery) = consumer.next().await {
            let body = String::from_utf8(delivery.body.to_vec()).unwrap();
            delivery.ack();
            if !wants_more(body) {
                return;
            }
        }
    }
}

/// Until `wanted` different bodies were acked.
async fn consume_all(broker: &dyn Broker, wanted: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let all = consume_while(broker, |body| {
        seen.insert(body);
        seen.len() < wanted
    });
    timeout(PATIENCE, all).await.expect("everything arrives");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_come_back_by_themselves_and_lose_nothing() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let broker = rabbit.client().await;
    let (publisher, consumer) = (broker.clone(), broker.clone());
    let publishing = tokio::spawn(async move {
        for number in 0..300 {
            publish_until_confirmed(&publisher, &number.to_string()).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let consuming = tokio::spawn(async move { consume_all(&consumer, 300).await });
    let mut killed = 0;
    for _ in 0..3 {
        eventually("both connections stand", || async {
            broker.is_connected() && rabbit.connections().await.len() >= 2
        })
        .await;
        killed += rabbit.kill_connections().await;
    }
    publishing.await.unwrap();
    assert_eq!(consuming.await.unwrap().len(), 300);
    assert!(killed >= 6, "{killed} connections were killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_queues_and_exchanges_are_declared_again() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let broker = rabbit.client().await;
    let all: BTreeSet<String> = topology::queues().into_iter().map(|(name, _)| name).collect();
    assert_eq!(BTreeSet::from_iter(rabbit.queues().await), all);
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    rabbit.delete_queue(QUEUE).await;
    let ended = timeout(PATIENCE, consumer.next()).await.expect("the subscription ends");
    assert!(ended.is_none());
    assert!(timeout(PATIENCE, consumer.next()).await.expect("and stays ended").is_none());
    broker.publish(job("published to a queue that was gone")).await.unwrap();
    assert_eq!(consume_all(&broker, 1).await.len(), 1);

    rabbit.delete_exchange("carillon.events").await;
    let stream = topology::stream(topology::BILLING, topology::BALANCE_RAISED);
    let event = Publication {
        to: Destination::Event(stream.clone()),
        headers: Vec::new(),
        body: "event".into(),
    };
    broker.publish(event).await.unwrap();
    let queue = topology::event_queue(topology::SMS_DISPATCHER, &stream);
    assert_eq!(broker.depth(&queue).await.unwrap().ready, 1);

    rabbit.delete_queue(QUEUE).await;
    assert!(broker.consume(QUEUE, 1).await.is_ok(), "declared again for a consumer");
    rabbit.delete_queue(QUEUE).await;
    assert_eq!(broker.depth(QUEUE).await.unwrap().ready, 0, "declared again for a look");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_and_declared_at_once_is_consumed() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let (broker, other) = (rabbit.client().await, rabbit.client().await);
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move { consume_while(&broker, |body| arrived.send(body).is_ok()).await });
    for round in 0..3 {
        tokio::join!(rabbit.delete_queue(QUEUE), publish_until_confirmed(&other, "early"));
        let body = round.to_string();
        publish_until_confirmed(&other, &body).await;
        let arrives = async { while arrivals.recv().await.unwrap() != body {} };
        timeout(PATIENCE, arrives).await.expect("what waits is delivered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_channels_are_used_up_is_made_again() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let broker = rabbit.client().await;
    for _ in 0..2_100 {
        assert!(broker.consume("jobs.pigeon.bulk", 1).await.is_err());
    }
    eventually("there are channels again", || async { broker.consume(QUEUE, 1).await.is_ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_until_there_is_room() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let broker = rabbit.client().await;
    // So many publish at once that there are many channels, and all of them are refused.
    let publish_many = || join_all((0..40).map(|_| broker.publish(job("one of many"))));
    publish_many().await;
    rabbit.limit_queue(QUEUE, 1).await;
    eventually("the queue is full", || async {
        publish_many().await.iter().all(|done| matches!(done, Err(PublishError::Refused)))
    })
    .await;
    rabbit.purge_queue(QUEUE).await;
    eventually("it is emptier", || async { broker.publish(job("fits")).await.is_ok() }).await;

    eventually("the queue is full again", || async {
        publish_many().await.iter().all(|done| matches!(done, Err(PublishError::Refused)))
    })
    .await;
    rabbit.unlimit_queue().await;
    eventually("its limit is gone", || async { publish_many().await.iter().all(Result::is_ok) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::named(&format!("test-later-{}", std::process::id()));
    let broker = AmqpBroker::connect(rabbit.url().as_str(), "test").unwrap();
    let refused = broker.publish(job("early")).await;
    assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
    assert!(broker.depth(QUEUE).await.is_err());
    rabbit.create_vhost().await;
    publish_until_confirmed(&broker, "in time").await;
    assert_eq!(consume_all(&broker, 1).await, BTreeSet::from(["in time".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_declare_a_fresh_virtual_host_at_once() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let brokers: Vec<AmqpBroker> = (0..6)
        .map(|number| AmqpBroker::connect(rabbit.url().as_str(), &format!("{number}")).unwrap())
        .collect();
    for (number, broker) in brokers.iter().enumerate() {
        publish_until_confirmed(broker, &number.to_string()).await;
    }
    assert_eq!(consume_all(&brokers[5], 6).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_closes_has_given_every_answer() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let (leaving, staying) = (rabbit.client().await, rabbit.client().await);
    for number in 0..100 {
        publish_until_confirmed(&leaving, &number.to_string()).await;
    }
    let mut consumer = leaving.consume(QUEUE, 50).await.unwrap();
    for _ in 0..100 {
        timeout(PATIENCE, consumer.next()).await.expect("in time").expect("delivered").ack();
    }
    drop(consumer);
    leaving.close().await;
    assert!(matches!(leaving.publish(job("late")).await, Err(PublishError::Unavailable(_))));
    eventually("only the other's connections are left", || async {
        rabbit.connections().await.len() == 2
    })
    .await;
    let depth = staying.depth(QUEUE).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (0, 0), "every ack arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_dead_connection_are_answered_without_harm() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let broker: Arc<dyn Broker> = Arc::new(rabbit.client().await);
    publish_until_confirmed(&*broker, "once").await;
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    let held = timeout(PATIENCE, consumer.next()).await.expect("in time").expect("delivered");
    eventually("listed", || async { rabbit.connections().await.len() >= 2 }).await;
    rabbit.kill_connections().await;
    assert!(timeout(PATIENCE, consumer.next()).await.expect("it ends").is_none());
    held.ack();
    drop(consumer);
    assert_eq!(consume_all(&*broker, 1).await.len(), 1, "it came again");
}
