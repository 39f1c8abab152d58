//! Listens in on events, to say them again.

use carillon_broker::{Broker as _, Delivery, Destination, Publication, topology};

use crate::drill::Drill;

/// Of all events.
pub(crate) const EXCHANGE: &str = "carillon.events";
const QUEUE: &str = "spy";

/// An event as it travelled.
#[derive(Clone)]
pub(crate) struct Heard {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Heard {
    fn at(&self, seq: usize) -> Self {
        let mut again = self.clone();
        for (name, value) in &mut again.headers {
            if name == "carillon-seq" {
                *value = seq.to_string();
            }
        }
        again
    }
}

pub(crate) struct Spy {
    stream: String,
}

impl Spy {
    /// Hears the producer's events of one type from now on.
    pub fn on(drill: &Drill, producer: &str, event: &str) -> Self {
        let stream = topology::stream(producer, event);
        drill.stack.wait(drill.stack.rabbit.listen_in(QUEUE, EXCHANGE, &stream));
        Self { stream }
    }

    /// All that was heard.
    pub fn heard(&self, drill: &Drill) -> Vec<Heard> {
        drill.stack.wait(async {
            let client = drill.stack.rabbit.client().await;
            let depth = client.depth(QUEUE).await.expect("its queue");
            let mut consumer = client.consume(QUEUE, 1_000).await.expect("its queue");
            let mut heard = Vec::new();
            while heard.len() < depth.ready {
                let delivery: Delivery = consumer.next().await.expect("it is ready");
                heard.push(Heard {
                    headers: delivery.headers.clone(),
                    body: delivery.body.to_vec(),
                });
                delivery.ack();
            }
            heard
        })
    }

    /// Says to one subscriber again what was heard: as it was, and as if it were told anew, as a
    /// batch that comes again has its totals told.
    pub fn repeat(&self, drill: &Drill, subscriber: &str, heard: &[Heard], from_seq: usize) {
        let queue = topology::event_queue(subscriber, &self.stream);
        let anew = heard.iter().enumerate().map(|(index, heard)| heard.at(from_seq + index));
        let all: Vec<Heard> = heard.iter().cloned().chain(anew).collect();
        drill.stack.wait(async {
            let client = drill.stack.rabbit.client().await;
            for Heard { headers, body } in all {
                let publication = Publication {
                    to: Destination::Queue(queue.clone()),
                    headers,
                    body: body.into(),
                };
                client.publish(publication).await.expect("the broker takes it");
            }
        });
    }
}
