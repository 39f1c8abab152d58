//! A broker that goes away, and what it loses.

use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_broker::topology;

use crate::{
    Outcome, SOONER, Size,
    drill::{BOTH, Drill, until, within},
    servers::{Away, Server},
};

const RESTARTS: usize = 5;
const RESUMES_WITHIN: Duration = Duration::from_secs(30);
/// Messages of each of five campaigns.
const MOST: usize = 20_000;
/// 150 MB.
const MEMORY_KIB: u64 = 150 * 1000 * 1000 / 1024;

pub(crate) fn restarted_and_away_for_a_minute(size: &Size) -> Outcome {
    let customers = size.recipients / 22;
    let mut drill = Drill::of(customers, &[("sms-dispatcher", 2)], &[]);
    drill.providers.set_latency(Duration::from_millis(50));
    for _ in 0..RESTARTS {
        let before = drill.providers.total();
        drill.send(BOTH);
        drill.until_accepted(before + 10);
        let away = Server::Rabbitmq.stop();
        drill.send(BOTH);
        resumes(&mut drill, away, customers);
    }
    let ids = drill.campaigns.clone();
    for id in ids {
        drill.until_settled(&id);
    }
    let away = Server::Rabbitmq.stop();
    let (before, stopped) = (drill.providers.total(), Instant::now());
    drill.send(BOTH);
    thread::sleep(size.minute.saturating_sub(stopped.elapsed()));
    assert_eq!(drill.providers.total(), before, "without a broker nothing goes");
    resumes(&mut drill, away, customers);
    let outcome = drill.check(0);
    peaks(&drill);
    outcome
}

/// The campaign that was started in the meantime, or what is left of those before it.
fn resumes(drill: &mut Drill, away: Away, customers: usize) {
    away.ends();
    drill.kills += 1;
    let (before, all) = (drill.providers.total(), drill.campaigns.len() * 2 * customers);
    within(RESUMES_WITHIN, "sending resumes", || {
        let total = drill.providers.total();
        total > before || total == all
    });
}

fn peaks(drill: &Drill) {
    let peak = |(service, number): (String, usize)| {
        (drill.stack.peak_memory(&service, number).expect("it runs"), service)
    };
    let mut peaks: Vec<_> = drill.stack.replicas().into_iter().map(peak).collect();
    peaks.sort();
    println!("   the most memory, KiB: {peaks:?}");
    let (most, service) = peaks.last().expect("a process");
    assert!(*most <= MEMORY_KIB, "{service} had {most} KiB");
}

/// Before the consumers hear of it: they are down while their queues are emptied, one service after
/// the other, so that each kind of event is lost after its confirm; and in between every queue is
/// deleted under the feet of everybody.
pub(crate) fn queues_emptied_and_deleted(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients.min(MOST) / 2, &[], SOONER);
    drill.providers.set_latency(Duration::from_millis(100));
    drill.send(BOTH);
    for service in ["scheduler", "segment-evaluator", "sms-dispatcher", "email-dispatcher"] {
        drill.stack.terminate(service, 1);
    }
    drill.send(BOTH);
    lose_what_waits_for(&mut drill, "scheduler", topology::CAMPAIGN_PUBLISHED);
    lose_what_waits_for(&mut drill, "segment-evaluator", topology::RUN_DUE);
    lose_jobs(&mut drill);
    for service in ["campaign-api", "billing"] {
        let before = drill.providers.total();
        drill.send(BOTH);
        drill.until_accepted(before + 1);
        drill.stack.terminate(service, 1);
        lose_what_waits_for(&mut drill, service, topology::DELIVERY_CHANGED);
    }
    let third = drill.send(BOTH);
    until("it is planned", || drill.stack.report(&third)["plan_complete"] == true);
    for queue in drill.stack.wait(drill.stack.rabbit.queues()) {
        drill.stack.wait(drill.stack.rabbit.delete_queue(&queue));
    }
    drill.providers.set_latency(Duration::ZERO);
    drill.end(0)
}

/// Waits until events of the type wait for the service, which is down, empties its queues, and
/// starts it.
fn lose_what_waits_for(drill: &mut Drill, service: &str, event: &str) {
    let rabbit = &drill.stack.rabbit;
    let producers = topology::producers(event).iter();
    let queues: Vec<String> = producers
        .map(|producer| topology::event_queue(service, &topology::stream(producer, event)))
        .collect();
    until(&format!("{event} waits for {service}"), || {
        queues.iter().any(|queue| drill.depth(queue) > 0)
    });
    let own = format!("events.{service}.");
    for queue in drill.stack.wait(rabbit.queues()) {
        if queue.starts_with(&own) {
            drill.stack.wait(rabbit.purge_queue(&queue));
        }
    }
    drill.stack.spawn(service, 1);
}

fn lose_jobs(drill: &mut Drill) {
    for channel in topology::CHANNELS {
        let queue = topology::job_queue(channel, "bulk");
        until("jobs wait", || drill.depth(&queue) > 0);
        drill.stack.wait(drill.stack.rabbit.purge_queue(&queue));
        drill.stack.spawn(&format!("{channel}-dispatcher"), 1);
    }
}
