//! What every gateway must do, whatever it speaks: the same tests for each of them.

mod gateways;

use std::collections::BTreeMap;

use carillon_content::sms;
use carillon_contracts::{campaign::v1::SmsGateway, ids::MessageId};
use carillon_sms_dispatcher::Config;
use carillon_testkit::eventually;
use jiff::SignedDuration;

use crate::harness::{Harness, address};

/// What is wanted of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    TakesAll,
    RefusesAll,
    /// Not now, but another time.
    FailsFirst,
    /// Not now, whenever it is asked.
    FailsAlways,
    /// Takes them, each after a while.
    TakesSlowly,
    /// Takes them, and of some the connection is lost before the answer.
    TakesAndIsLost,
    /// Takes all, and reports each as delivered.
    Delivers,
    /// Takes all, and reports each as undelivered.
    CannotDeliver,
}

/// What arrived at a provider as one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrived {
    pub to: String,
    pub text: String,
}

/// A gateway with its provider.
trait Rig: Sized {
    async fn start(wish: Wish) -> Self;

    fn config(&self) -> Config;

    /// What the organisation sets to send through it.
    fn gateway(&self) -> Option<SmsGateway>;

    /// In no order.
    fn arrived(&self, house: &Harness) -> Vec<Arrived>;

    /// Messages of which parts are missing.
    fn in_part(&self) -> usize {
        0
    }
}

/// A house that sends through the gateway, and its provider.
async fn start<R: Rig>(wish: Wish) -> (Harness, R) {
    let rig = R::start(wish).await;
    let house = Harness::with(rig.config()).await;
    house.settings(rig.gateway()).await;
    (house, rig)
}

fn sorted<T: Ord>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort();
    all
}

async fn what_is_accepted_is_sent_once<R: Rig>() {
    let (house, rig) = start::<R>(Wish::TakesAll).await;
    let messages = house.send("hello", 40).await;
    for message in &messages {
        house.until(*message, "sent").await;
    }
    let expected = (0..40).map(|n| Arrived { to: address(n), text: "hello".into() });
    assert_eq!(sorted(rig.arrived(&house)), sorted(expected));
    house.stop().await;
}

async fn what_is_refused_fails_with_a_reason<R: Rig>() {
    let (house, rig) = start::<R>(Wish::RefusesAll).await;
    let message = house.send("hello", 1).await[0];
    let recorded = house.until(message, "failed").await;
    assert!(!recorded.reason.is_empty() && !recorded.provider_code.is_empty(), "{recorded:?}");
    assert_eq!(rig.arrived(&house), []);
    house.stop().await;
}

async fn what_fails_in_passing_is_sent_later<R: Rig>() {
    let (house, rig) = start::<R>(Wish::FailsFirst).await;
    let messages = house.send("hello", 4).await;
    for message in messages {
        house.until_later(message, "sent").await;
    }
    assert_eq!(rig.arrived(&house).len(), 4);
    house.stop().await;
}

async fn texts_arrive_as_they_were_written<R: Rig>() {
    let (house, rig) = start::<R>(Wish::TakesAll).await;
    let texts = [
        "Hi & bye: 25 % off @ Café Zoë's, 3 £ / ¥ _ Ω".to_owned(),
        "[^|~\\] { } 5 €".to_owned(),
        "Здравствуйте, ёж 😜".to_owned(),
        "line\nbreaks".to_owned(),
        "a".repeat(160),
        "€".repeat(80),
        // The escape sequence would stand at the end of the first part.
        format!("{}€{}", "a".repeat(152), "b".repeat(152)),
        // And so would the surrogate pair.
        format!("{}😜{}", "я".repeat(66), "ы".repeat(66)),
        format!("{}€", "0123456789".repeat(63)),
    ];
    for text in &texts {
        let message = house.send(text, 1).await[0];
        let recorded = house.until(message, "sent").await;
        assert_eq!(recorded.units, i64::from(sms::count(text).parts), "{text}");
    }
    assert_eq!(sorted(rig.arrived(&house).into_iter().map(|one| one.text)), sorted(texts));
    house.stop().await;
}

async fn receipts_raise_a_message<R: Rig>() {
    for (wish, state) in [(Wish::Delivers, "delivered"), (Wish::CannotDeliver, "undelivered")] {
        let (house, rig) = start::<R>(wish).await;
        for text in ["hello", &"long ".repeat(60)] {
            for message in house.send(text, 5).await {
                house.until_later(message, state).await;
            }
        }
        assert_eq!(rig.arrived(&house).len(), 10);
        house.stop().await;
    }
}

async fn a_stop_in_mid_run_leaves_nothing_unknown<R: Rig>() {
    let (house, rig) = start::<R>(Wish::TakesSlowly).await;
    let messages = house.send(&"in two parts ".repeat(14), 60).await;
    eventually("some arrived", || async { rig.arrived(&house).len() >= 3 }).await;
    house.stop().await;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for message in messages {
        // Those that were not begun may have no row yet.
        let state = house.recorded(message).await.map_or("queued".into(), |one| one.state);
        *states.entry(state).or_default() += 1;
    }
    let sent = states.remove("sent").unwrap_or_default();
    let queued = states.remove("queued").unwrap_or_default();
    assert!(states.is_empty(), "{states:?}");
    assert_eq!((sent, sent + queued), (rig.arrived(&house).len(), 60));
    assert_eq!(rig.in_part(), 0);
}

async fn a_lost_connection_leaves_it_unknown<R: Rig>() {
    let (house, rig) = start::<R>(Wish::TakesAndIsLost).await;
    let messages = house.send("hello", 30).await;
    let states = ended(&house, &messages).await;
    assert!(["sent", "unknown"].iter().all(|state| states.contains(&(*state).to_owned())));
    house.clock.advance(SignedDuration::from_mins(10));
    // Whoever would call again would have done so before this one.
    ended(&house, &house.send("again", 1).await).await;
    let arrived = rig.arrived(&house);
    for (n, state) in (0_u32..).zip(states) {
        let this = Arrived { to: address(n), text: "hello".into() };
        let times = arrived.iter().filter(|one| **one == this).count();
        assert!(times == 1 || times == 0 && state == "unknown", "{times} times {state}");
    }
    house.stop().await;
}

/// The state of each, when it is sent or nobody will know.
async fn ended(house: &Harness, messages: &[MessageId]) -> Vec<String> {
    let mut states = Vec::new();
    for message in messages {
        states.push(house.until_one_of(*message, &["sent", "unknown"]).await.state);
    }
    states
}

async fn nothing_is_called_past_the_deadline<R: Rig>() {
    let (house, rig) = start::<R>(Wish::FailsAlways).await;
    let message = house.send("hello", 1).await[0];
    house.until(message, "queued").await;
    house.clock.advance(SignedDuration::from_hours(2));
    house.until_later(message, "expired").await;
    assert_eq!(rig.arrived(&house), []);
    house.stop().await;
}

macro_rules! suite {
    ($gateway:ident: $rig:ty) => {
        suite! {
            $gateway: $rig,
            what_is_accepted_is_sent_once,
            what_is_refused_fails_with_a_reason,
            what_fails_in_passing_is_sent_later,
            texts_arrive_as_they_were_written,
            receipts_raise_a_message,
            a_stop_in_mid_run_leaves_nothing_unknown,
            a_lost_connection_leaves_it_unknown,
            nothing_is_called_past_the_deadline,
        }
    };
    ($gateway:ident: $rig:ty, $($test:ident),* $(,)?) => {
        mod $gateway {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<$rig>().await;
            })*
        }
    };
}

suite!(twilio: super::gateways::Twilio);
suite!(described: super::gateways::Described);
suite!(smpp: super::gateways::Smpp);
suite!(sandbox: super::gateways::Sandbox);
