//! What providers report of messages: ten times, in any order, too early, of nobody, or not they.

use std::{collections::BTreeMap, time::Duration};

use carillon_sealing::CallbackMac;
use carillon_sinks::sms::{Behaviour, Poster, signature, twilio_form};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use uuid::Uuid;

use super::sms::customers_by_phone;
use crate::{
    Outcome, Size,
    drill::{Detail, Drill, SMS, until},
};

const TIMES: usize = 10;
/// Longer than receipts lie before they are applied.
const A_WHILE: Duration = Duration::from_millis(400);
/// Of each kind of receipts that this side sends itself, one after the other.
const FEW: usize = 20;
/// Receipts come of so many messages at most: a minute has no room for more.
const MOST_TOLD: usize = 6_000;

/// What the provider does to a customer's message, and the state that comes of it.
fn case(customer: usize, one_in: usize) -> (Behaviour, &'static str) {
    let told = |statuses: &[&str], pause| {
        let mut all = statuses.repeat(TIMES);
        all.shuffle(&mut StdRng::seed_from_u64(customer as u64));
        Behaviour::AcceptAfterReceipts(all.into_iter().map(str::to_owned).collect(), pause)
    };
    if !customer.is_multiple_of(one_in) {
        return (Behaviour::Accept, "sent");
    }
    match customer / one_in % 8 {
        0 => (told(&["queued", "sent", "delivered"], Duration::ZERO), "delivered"),
        1 => (told(&["queued", "sent", "undelivered"], Duration::ZERO), "undelivered"),
        2 => (told(&["sent", "undelivered", "delivered"], Duration::ZERO), "delivered"),
        // These are applied while the call goes on.
        3 => (told(&["sent", "delivered"], A_WHILE), "delivered"),
        4 => (told(&["sent", "undelivered"], A_WHILE), "undelivered"),
        5 => (told(&["sent"], Duration::ZERO), "sent"),
        6 => (Behaviour::AcceptAndClose, "unknown"),
        _ => (Behaviour::Accept, "sent"),
    }
}

/// Where receipts are posted to.
struct Callbacks<'a> {
    drill: &'a Drill,
    poster: Poster,
    mac: CallbackMac,
    organisation: Uuid,
    run_day: i32,
}

impl<'a> Callbacks<'a> {
    fn of(drill: &'a Drill) -> Self {
        let mac = CallbackMac::new(&drill.wrapping_key());
        let sql = "SELECT organisation_id, run_day FROM batches LIMIT 1";
        let batch = drill.rows("sms-dispatcher", sql).pop().expect("a batch");
        let organisation = batch.try_get_by_index(0).expect("an id");
        let run_day: i64 = batch.try_get_by_index(1).expect("a day");
        let (poster, run_day) = (Poster::default(), run_day.try_into().expect("a day"));
        Self { drill, poster, mac, organisation, run_day }
    }

    fn url(&self, message: Uuid) -> String {
        let Self { organisation, run_day, .. } = self;
        let token = self.mac.token("twilio", *organisation, *run_day, message);
        let base = format!("{}/callbacks/sms/twilio", self.drill.stack.url);
        format!("{base}/{organisation}/{run_day}/{message}?token={token}")
    }

    fn post(&self, url: &str, status: &str, signature: &str) -> u16 {
        let form = twilio_form("SM1", status);
        let posted = self.drill.stack.wait(self.poster.post(url, &form, signature));
        posted.expect("an answer")
    }

    /// Each status ten times, in some order.
    fn tell(&self, message: Uuid, statuses: &[&str]) {
        let url = self.url(message);
        let mut all = statuses.repeat(TIMES);
        all.shuffle(&mut StdRng::seed_from_u64(message.as_u64_pair().0));
        for status in all {
            let signed = self.drill.providers.sms_signature(&url, &twilio_form("SM1", status));
            assert_eq!(self.post(&url, status, &signed), 204, "{url}");
        }
    }

    /// As somebody would who knows all but a secret.
    fn forge(&self, victim: Uuid, other: Uuid) {
        let (url, elsewhere) = (self.url(victim), self.url(other));
        let form = twilio_form("SM1", "delivered");
        let sign = |url: &str, status| {
            self.drill.providers.sms_signature(url, &twilio_form("SM1", status))
        };
        let guessed = url.replace("token=", "token=0");
        let (bare, _) = url.split_once('?').expect("a token");
        let described = format!("{}&status=delivered", url.replace("/twilio/", "/http/"));
        for (url, signature) in [
            (url.as_str(), String::new()),
            (&url, signature("another token", &url, &form)),
            (&url, sign(&url, "sent")),
            (&url, sign(&elsewhere, "delivered")),
            (&guessed, sign(&guessed, "delivered")),
            (bare, sign(bare, "delivered")),
            (&described, sign(&described, "delivered")),
        ] {
            assert_eq!(self.post(url, "delivered", &signature), 403, "{url} {signature}");
        }
    }

    /// Waits until all that was told is applied.
    fn until_applied(&self) {
        let sql = "SELECT COUNT(*) FROM evidence";
        until("receipts are applied", || self.drill.count("sms-dispatcher", sql) == 0);
    }
}

/// Waits until the report counts these states; what it counted on the way never fell, but for what
/// could not be delivered and then was.
fn until_counted(drill: &Drill, campaign: &str, expected: &BTreeMap<&str, usize>) {
    let mut before = [0; 2];
    until(&format!("{expected:?} are counted"), || {
        let report = drill.stack.report(campaign);
        let count = |state: &str| {
            let count = report["states"][state].as_u64().unwrap_or_default();
            usize::try_from(count).expect("a count")
        };
        let delivered = count("delivered");
        let now = [delivered, delivered + count("sent") + count("undelivered")];
        assert!(now[0] >= before[0] && now[1] >= before[1], "{before:?} became {now:?}");
        before = now;
        expected.iter().all(|(state, expected)| count(state) == *expected)
    });
}

fn message_of(detail: &Detail) -> Uuid {
    detail.message.parse().expect("an id")
}

pub(crate) fn told_in_every_way(size: &Size) -> Outcome {
    let customers = size.recipients / 2;
    let one_in = customers.div_ceil(MOST_TOLD.min(size.recipients / 4));
    let mut drill = Drill::of(customers, &[], &[]);
    let numbers = customers_by_phone(customers);
    drill.providers.sms.by_rule(move |to, _| case(numbers[to], one_in).0);
    let campaign = drill.send(SMS);
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for customer in 0..customers {
        *expected.entry(case(customer, one_in).1).or_default() += 1;
    }
    until_counted(&drill, &campaign, &expected);
    let refused = drill.providers.sms.receipts().1;
    assert_eq!(refused, 0, "genuine receipts that were refused");
    each_is(&drill, &campaign, |detail| case(detail.number, one_in).1);

    let told = tell_afterwards(&drill, &campaign);
    *expected.get_mut("unknown").expect("some") -= told.len();
    *expected.get_mut("delivered").expect("some") += told.len();
    until_counted(&drill, &campaign, &expected);
    each_is(&drill, &campaign, |detail| {
        if told.contains(&message_of(detail)) { "delivered" } else { case(detail.number, one_in).1 }
    });
    let counted = format!("carillon_evidence_baseless_total{{channel=\"sms\"}} {}", FEW * TIMES);
    let metrics = drill.stack.metrics("sms-dispatcher", 1);
    assert!(metrics.lines().any(|line| line == counted), "{counted}");
    drill.end(expected["unknown"])
}

fn each_is(drill: &Drill, campaign: &str, expected: impl Fn(&Detail) -> &'static str) {
    for (address, detail) in drill.details(campaign) {
        let expected = match expected(&detail) {
            "unknown" => ("unknown", "in_doubt", "closed_without_answer", 1),
            "undelivered" => ("undelivered", "", "30003", 1),
            other => (other, "", "", 1),
        };
        assert_eq!(detail.is(), expected, "{address}");
    }
}

/// What is over is told of again, and what never was; answers what was in doubt and is no more.
fn tell_afterwards(drill: &Drill, campaign: &str) -> Vec<Uuid> {
    let callbacks = Callbacks::of(drill);
    let details = drill.details(campaign);
    let some = |state: &str| {
        let mut of_state: Vec<&Detail> =
            details.values().filter(|detail| detail.state == state).collect();
        of_state.sort_by_key(|detail| detail.number);
        let messages: Vec<Uuid> = of_state.into_iter().take(FEW).map(message_of).collect();
        assert_eq!(messages.len(), FEW, "{state}");
        messages
    };
    for delivered in some("delivered") {
        callbacks.tell(delivered, &["queued", "sent", "undelivered"]);
    }
    for undelivered in some("undelivered") {
        callbacks.tell(undelivered, &["queued", "sent"]);
    }
    for stranger in 1..=FEW as u128 {
        callbacks.tell(Uuid::from_u128(stranger), &["delivered"]);
    }
    let victims = some("sent");
    for pair in victims.windows(2) {
        callbacks.forge(pair[0], pair[1]);
    }
    let in_doubt = some("unknown");
    for unknown in &in_doubt {
        callbacks.tell(*unknown, &["sent", "delivered"]);
    }
    callbacks.until_applied();
    in_doubt
}
