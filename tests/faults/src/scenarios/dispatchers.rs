//! Kills of dispatchers at each boundary of PROTOCOL §6's table.

use std::{thread, time::Duration};

use carillon_broker::topology;
use carillon_e2e::stack::SERVICES;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Outcome, Size,
    drill::{BOTH, DISPATCHERS, Drill, SMS, UNKNOWN_A_KILL, until},
};

const ROUNDS: usize = 3;
/// Claims and records share their commits, of a hundred messages and more.
const STEPS: usize = 10;

pub(crate) fn killed_before_the_first_claim(_: &Size) -> Outcome {
    let mut drill = Drill::of_one_batch(&[]);
    let fault = "dispatch.delivered=return";
    for dispatcher in DISPATCHERS {
        drill.arm(dispatcher, 1, fault);
    }
    drill.send(BOTH);
    for next in [fault; ROUNDS - 1].into_iter().chain([""]) {
        for dispatcher in DISPATCHERS {
            until("the broker has delivered its batch", || drill.stack.has_ended(dispatcher, 1));
            drill.dies(dispatcher, 1);
            drill.begin_with(dispatcher, 1, next);
        }
    }
    drill.wait_ready();
    let outcome = drill.check(0);
    assert_eq!(drill.handed_out_again(), 0, "the broker delivers again, not we");
    outcome
}

/// At a call in the midst of others: what was claimed with it goes with the process.
fn killed_at_a_call(drill: &mut Drill, point: &str, calls: usize) {
    let fault = format!("{point}={calls}*off->return");
    for dispatcher in DISPATCHERS {
        drill.arm_at_work(dispatcher, 1, &fault);
    }
    drill.send(BOTH);
    for dispatcher in DISPATCHERS {
        drill.dies_of(dispatcher, 1, &[fault.as_str(); ROUNDS - 1]);
    }
}

pub(crate) fn killed_before_the_call(size: &Size) -> Outcome {
    let mut drill = Drill::of_campaigns(size, 4);
    let calls = drill.customers / 10;
    killed_at_a_call(&mut drill, "dispatch.call", calls);
    for point in ["dispatch.step.before", "dispatch.step.after"] {
        killed_at_a_call(&mut drill, point, STEPS);
    }
    killed_in_a_takeover(&mut drill, calls);
    let bound = drill.kills * UNKNOWN_A_KILL;
    drill.end(bound)
}

/// What one left in the midst of its calls, those who take it over leave too.
fn killed_in_a_takeover(drill: &mut Drill, calls: usize) {
    for dispatcher in DISPATCHERS {
        drill.arm_at_work(dispatcher, 1, &format!("dispatch.call={calls}*off->return"));
    }
    drill.send(BOTH);
    for next in ["dispatch.takeover.before=return", "dispatch.takeover.after=return", ""] {
        for dispatcher in DISPATCHERS {
            drill.dies(dispatcher, 1);
            drill.begin_with(dispatcher, 1, next);
        }
    }
    drill.wait_ready();
}

pub(crate) fn killed_before_the_record(size: &Size) -> Outcome {
    let mut drill = Drill::of_campaigns(size, 2);
    let calls = drill.customers / 10;
    killed_at_a_call(&mut drill, "dispatch.called", calls);
    let bound = drill.kills * UNKNOWN_A_KILL;
    let unsure = drill.end(bound);

    // A gateway that takes each id once only is asked again, and says what it took.
    let mut drill = Drill::of_campaigns(size, 2);
    drill.providers.set_idempotent_sms_for(&drill.stack);
    let fault = format!("dispatch.called={calls}*off->return");
    drill.arm("sms-dispatcher", 1, &fault);
    drill.send(SMS);
    drill.dies_of("sms-dispatcher", 1, &[fault.as_str(); ROUNDS - 1]);
    let outcome = drill.check(0);
    each_call_has_its_messages_key(&drill);
    let again = drill.providers.sms.taken_before();
    assert!(again >= ROUNDS, "{again} calls under a key that was taken, in {ROUNDS} lives");
    unsure + outcome
}

/// However often a message is called, it is under one key.
pub(super) fn each_call_has_its_messages_key(drill: &Drill) {
    let sms = &drill.providers.sms;
    let keys = sms.keys();
    for (message, keys) in &keys {
        assert!(keys.iter().all(|key| *key == keys[0]), "{message} by the keys {keys:?}");
    }
    let calls: usize = keys.values().map(Vec::len).sum();
    assert_eq!(calls as u64, sms.requests(), "calls with a key, and all");
}

pub(crate) fn killed_after_the_last_record(_: &Size) -> Outcome {
    let mut drill = Drill::of_one_batch(&[]);
    for dispatcher in DISPATCHERS {
        drill.arm(dispatcher, 1, "dispatch.accepted=return;outbox.publish=return(1000)");
    }
    let first = drill.send(BOTH);
    for dispatcher in DISPATCHERS {
        drill.dies(dispatcher, 1);
        all_is_recorded_and_the_batch_outstanding(&drill, dispatcher, &first);
        assert!(drill.unsent(dispatcher) > 0, "{dispatcher} died after its events");
        drill.begin_with(dispatcher, 1, "");
    }
    drill.wait_ready();
    drill.until_settled(&first);

    for dispatcher in DISPATCHERS {
        drill.arm(dispatcher, 1, "dispatch.accepted=print;dispatch.ack=pause");
    }
    let second = drill.send(BOTH);
    for dispatcher in DISPATCHERS {
        until("a batch is accepted", || {
            drill.stack.read_log(dispatcher, 1).contains("failpoint dispatch.accepted executed")
        });
        until("its events are published", || drill.unsent(dispatcher) == 0);
        drill.stack.kill(dispatcher, 1);
        drill.kills += 1;
        assert_eq!(drill.unsent(dispatcher), 0, "{dispatcher} died before its events");
        all_is_recorded_and_the_batch_outstanding(&drill, dispatcher, &second);
        drill.begin_with(dispatcher, 1, "");
    }
    drill.wait_ready();
    drill.end(0)
}

/// As the one dispatcher of its channel left it when it died.
fn all_is_recorded_and_the_batch_outstanding(drill: &Drill, dispatcher: &str, campaign: &str) {
    let unrecorded = format!(
        "SELECT b.count - COUNT(m.id) FROM batches b
         LEFT JOIN messages m ON m.batch_id = b.id AND m.run_day = b.run_day
             AND m.state NOT IN ('queued', 'sending')
         WHERE b.campaign_id = '{campaign}' GROUP BY b.id, b.count"
    );
    assert_eq!(drill.count(dispatcher, &unrecorded), 0, "{dispatcher} died before its records");
    let channel = dispatcher.trim_end_matches("-dispatcher");
    let queue = topology::job_queue(channel, "bulk");
    until("the broker has its batch again", || drill.depth(&queue) == 1);
}

pub(crate) fn anyone_killed_at_any_moment(size: &Size) -> Outcome {
    let seed = rand::rng().random();
    println!("   the moments of the kills follow from the seed {seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let mut drill = Drill::new(size, &[("sms-dispatcher", 2), ("email-dispatcher", 2)]);
    // So slow that the run outlasts the kills.
    drill.providers.set_latency(Duration::from_secs(1));
    drill.send(BOTH);
    let mut dispatchers = 0;
    for service in SERVICES.into_iter().cycle().take(30) {
        thread::sleep(Duration::from_millis(moments.random_range(20..400)));
        let number = if service.ends_with("dispatcher") { moments.random_range(1..=2) } else { 1 };
        dispatchers += usize::from(service.ends_with("dispatcher"));
        drill.kill(service, number);
    }
    assert!(drill.providers.total() < size.recipients, "the run was over before the last kill");
    drill.providers.set_latency(Duration::ZERO);
    drill.wait_ready();
    drill.end(dispatchers * UNKNOWN_A_KILL)
}
