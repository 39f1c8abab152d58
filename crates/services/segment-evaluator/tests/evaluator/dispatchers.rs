//! Dispatchers that hear who is suppressed and say so at once, as real ones do.

use std::sync::{Arc, Mutex};

use carillon_broker::{Broker, Consumer, Destination, Publication, topology};
use carillon_contracts::{
    events::v1::{Event, Mark, Suppression, event::Body},
    jobs::v1::Channel,
};
use carillon_testkit::eventually;
use prost::Message as _;

use crate::world::World;

#[derive(Clone, Default)]
pub struct Dispatchers(Arc<Mutex<Vec<(&'static str, Suppression)>>>);

impl Dispatchers {
    pub async fn start(world: &World) -> Self {
        let dispatchers = Self::default();
        let stream = topology::stream(topology::SEGMENT_EVALUATOR, topology::SUPPRESSION_CHANGED);
        for name in [topology::SMS_DISPATCHER, topology::EMAIL_DISPATCHER] {
            let consumer = world.consume(&topology::event_queue(name, &stream)).await;
            let (heard, broker) = (dispatchers.clone(), Arc::clone(&world.broker));
            tokio::spawn(heard.hear(name, stream.clone(), consumer, broker));
        }
        dispatchers
    }

    async fn hear(
        self,
        name: &'static str,
        stream: String,
        mut consumer: Box<dyn Consumer>,
        broker: Arc<dyn Broker>,
    ) {
        while let Some(delivery) = consumer.next().await {
            let event = Event::decode(delivery.body.clone()).expect("an event");
            let Some(Body::SuppressionChanged(changed)) = event.body else {
                panic!("another event");
            };
            let told = changed.suppressions.into_iter().map(|one| (name, one));
            self.0.lock().expect("whole").extend(told);
            let seq = delivery.headers.iter().find(|(key, _)| key == "carillon-seq");
            let seq = seq.and_then(|(_, value)| value.parse().ok()).expect("a position");
            delivery.ack();
            Self::say(&*broker, name, &stream, seq).await;
        }
    }

    async fn say(broker: &dyn Broker, name: &str, stream: &str, seq: u64) {
        let (stream, subscriber) = (stream.to_owned(), name.to_owned());
        let mark = Mark { stream, subscriber, mark: seq, highest: seq };
        let to = Destination::Queue(topology::marks_queue(topology::SEGMENT_EVALUATOR));
        let body = mark.encode_to_vec().into();
        let publication = Publication { to, headers: Vec::new(), body };
        broker.publish(publication).await.expect("published");
    }

    /// Its database is a new one.
    pub async fn knows_nothing(world: &World, name: &str) {
        let stream = topology::stream(topology::SEGMENT_EVALUATOR, topology::SUPPRESSION_CHANGED);
        Self::say(&*world.broker, name, &stream, 0).await;
    }

    /// What each was told, in order: channel, version, whether suppressed.
    pub async fn told(&self, expected: &[(Channel, u64, bool)]) {
        self.told_as(expected, |one| one.suppressed).await;
    }

    /// The same, and whether without consent.
    pub async fn told_of_consent(&self, expected: &[(Channel, u64, (bool, bool))]) {
        self.told_as(expected, |one| (one.suppressed, one.without_consent)).await;
    }

    async fn told_as<T>(&self, expected: &[(Channel, u64, T)], what: impl Fn(&Suppression) -> T)
    where
        T: PartialEq + std::fmt::Debug,
    {
        for name in [topology::SMS_DISPATCHER, topology::EMAIL_DISPATCHER] {
            eventually(&format!("{name} hears of {expected:?}"), async || {
                let heard = self.0.lock().expect("whole");
                let heard = heard.iter().filter(|(of, _)| *of == name);
                let heard = heard.map(|(_, one)| (one.channel(), one.version, what(one)));
                heard.collect::<Vec<_>>() == expected
            })
            .await;
        }
    }

    pub fn forget(&self) {
        self.0.lock().expect("whole").clear();
    }
}
