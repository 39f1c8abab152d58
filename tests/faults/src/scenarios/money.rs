//! Kills of billing, and a purse that is too small.

use std::time::{Duration, Instant};

use carillon_e2e::money;
use rand::{RngExt as _, seq::SliceRandom as _};

use crate::{
    Outcome, Size,
    drill::{Drill, SMS, until},
    spy::Spy,
};

/// Numbers that no event of the drill has.
const FAR_AWAY: usize = 1_000_000;

pub(crate) fn billing_killed_and_totals_replayed(size: &Size) -> Outcome {
    let customers = size.recipients / 2;
    let mut drill = Drill::of(customers, &[], &[]);
    let spy = Spy::on(&drill, "sms-dispatcher", "delivery.changed");
    let faults = [
        "billing.hold.before=return",
        "billing.hold.after=return",
        "billing.hold.after=return",
        "inbox.handle.before=return",
        "inbox.handle.after=return",
    ];
    drill.arm("billing", 1, faults[0]);
    let id = drill.send(SMS);
    drill.dies_of("billing", 1, &faults[1..]);
    drill.until_settled(&id);
    let mut totals = spy.heard(&drill);
    assert!(!totals.is_empty(), "no totals to replay");
    for round in 1..=10 {
        totals.shuffle(&mut rand::rng());
        spy.repeat(&drill, "billing", &totals, round * FAR_AWAY);
    }
    let queue = "events.billing.sms-dispatcher.delivery.changed";
    until("all of it is heard", || drill.depth(queue) == 0);
    let outcome = drill.check(0);
    let balance = drill.stack.balance();
    assert_eq!(balance["spent"], customers as u64, "{balance}");
    money::assert_statement_adds_up(&drill.stack);
    outcome
}

/// `money::oversubscribed` is 20 campaigns of 1,000, at any size.
pub(crate) fn never_oversold(_: &Size) -> Outcome {
    let mut drill = Drill::of(0, &[("sms-dispatcher", 4), ("billing", 2)], &[]);
    drill.providers.set_latency(Duration::from_millis(200));
    let (mut kills, mut last) = (0, Instant::now());
    let Drill { stack, providers, .. } = &mut drill;
    let campaigns = money::oversubscribed(stack, 1_000, providers, |stack, accepted| {
        if kills < 10 && accepted > 300 && last.elapsed() > Duration::from_millis(500) {
            let (service, number) = match kills % 3 {
                2 => ("billing", rand::rng().random_range(1..=2)),
                _ => ("sms-dispatcher", rand::rng().random_range(1..=4)),
            };
            stack.kill(service, number);
            stack.begin(service, number);
            (kills, last) = (kills + 1, Instant::now());
        }
    });
    assert!(kills >= 5, "only {kills} kills fell into the run");
    drill.kills = kills;
    for campaign in campaigns {
        drill.expect(&campaign, 1_000);
    }
    drill.may_end_as(&["cancelled"]);
    let outcome = drill.end(0);
    assert_eq!((outcome.recipients, outcome.sent), (20_000, 10_000));
    outcome
}
