//! Takes its share of every event after the broker confirmed it, and before its subscriber has it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use carillon_broker::{Broker, amqp::AmqpBroker, topology};
use tokio::task::JoinSet;

use crate::drill::Drill;

#[derive(Clone, Default)]
struct Loot(Arc<Mutex<BTreeSet<&'static str>>>);

pub(crate) struct Thief {
    loot: Loot,
    taking: JoinSet<()>,
    client: AmqpBroker,
}

impl Thief {
    /// Beside every subscriber of every event: the broker gives each of the two every other one.
    pub fn of(drill: &Drill) -> Self {
        drill.stack.wait(async {
            let client = drill.stack.rabbit.client().await;
            let (loot, mut taking) = (Loot::default(), JoinSet::new());
            for (queue, stream) in topology::queues() {
                let Some((_, event)) = stream.as_deref().and_then(topology::parse_stream) else {
                    continue;
                };
                let known = topology::EVENTS.iter().find(|known| **known == event);
                let event: &'static str = known.expect("an event");
                taking.spawn(take(client.clone(), queue, event, loot.clone()));
            }
            Self { loot, taking, client }
        })
    }

    pub fn has(&self, event: &str) -> bool {
        self.loot.0.lock().unwrap_or_else(PoisonError::into_inner).contains(event)
    }

    pub fn goes(mut self, drill: &Drill) {
        drill.stack.wait(async {
            self.taking.shutdown().await;
            self.client.close().await;
        });
    }
}

async fn take(client: AmqpBroker, queue: String, event: &'static str, loot: Loot) {
    loop {
        let mut consumer = client.consume(&queue, 1).await.expect("its queue");
        while let Some(delivery) = consumer.next().await {
            loot.0.lock().unwrap_or_else(PoisonError::into_inner).insert(event);
            delivery.ack();
        }
    }
}
