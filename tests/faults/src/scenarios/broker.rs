//! What the broker loses, refuses and garbles.

use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_broker::{Broker as _, Destination, Publication, topology};

use crate::{
    Outcome, Size,
    drill::{BOTH, Drill, SMS, until, within},
    servers::Server,
    spy::EXCHANGE,
};

const RESUMES_WITHIN: Duration = Duration::from_secs(30);
const MEMORY_KIB: u64 = 150 * 1024;

pub(crate) fn restarted_and_away_for_a_minute(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients / 12, &[("sms-dispatcher", 2)], &[]);
    drill.providers.set_latency(Duration::from_millis(50));
    for _ in 0..5.min(size.most_times) {
        let before = drill.providers.total();
        drill.send(BOTH);
        drill.until_accepted(before + 10);
        Server::Rabbitmq.restart();
        drill.kills += 1;
    }
    let ids = drill.campaigns.clone();
    for id in ids {
        drill.until_settled(&id);
    }
    Server::Rabbitmq.stop();
    let (before, stopped) = (drill.providers.total(), Instant::now());
    drill.send(BOTH);
    thread::sleep(size.minute.saturating_sub(stopped.elapsed()));
    assert_eq!(drill.providers.total(), before, "without a broker nothing goes");
    Server::Rabbitmq.start();
    drill.kills += 1;
    within(RESUMES_WITHIN, "sending resumes", || drill.providers.total() > before);
    for (service, number) in drill.stack.replicas() {
        let peak = drill.stack.peak_memory(&service, number).expect("it runs");
        assert!(peak <= MEMORY_KIB, "{service} had {} MiB", peak / 1024);
    }
    drill.end(0)
}

/// Before the consumers hear of it: they are down while their queues are emptied, one service after
/// the other, so that events are lost after their confirm.
pub(crate) fn queues_emptied(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients / 2, &[], size.sooner());
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

pub(crate) fn a_full_and_an_unbound_queue(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients / 2, &[], size.sooner());
    // Nobody takes anything out.
    drill.stack.terminate("segment-evaluator", 1);
    let stream = topology::stream(topology::SCHEDULER, topology::RUN_DUE);
    let due = topology::event_queue("segment-evaluator", &stream);
    drill.stack.wait(drill.stack.rabbit.limit_queue(&due, 1));
    for _ in 0..3 {
        drill.send(SMS);
    }
    until("the scheduler keeps what the queue refuses", || drill.unsent("scheduler") > 0);
    until("a metric tells", || unpublished(&mut drill, "scheduler") > 0.0);
    drill.stack.wait(drill.stack.rabbit.unlimit_queue());
    until("it is published", || drill.unsent("scheduler") == 0);

    drill.stack.terminate("campaign-api", 1);
    let stream = topology::stream(topology::SEGMENT_EVALUATOR, topology::RUN_PLANNED);
    let planned = topology::event_queue("campaign-api", &stream);
    drill.stack.wait(drill.stack.rabbit.unbind_queue(&planned, EXCHANGE, &stream));
    drill.stack.spawn("segment-evaluator", 1);
    until("the plan's end is told of", || {
        drill.count("segment-evaluator", "SELECT COUNT(*) FROM runs WHERE NOT closed") == 0
    });
    drill.stack.spawn("campaign-api", 1);
    drill.end(0)
}

/// Rows that the service's metrics call unpublished.
fn unpublished(drill: &mut Drill, service: &str) -> f64 {
    let metrics = drill.stack.metrics(service, 1);
    let rows = metrics.lines().filter(|line| line.starts_with("carillon_outbox_rows"));
    rows.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

pub(crate) fn a_poisoned_message_on_every_queue(size: &Size) -> Outcome {
    let mut drill = Drill::new(size, &[]);
    drill.providers.set_latency(Duration::from_millis(50));
    drill.send(BOTH);
    let queues = drill.stack.wait(drill.stack.rabbit.queues());
    let poisoned: Vec<_> = queues
        .iter()
        .filter(|queue| queue.starts_with("jobs.") || queue.starts_with("events."))
        .collect();
    drill.stack.wait(async {
        let client = drill.stack.rabbit.client().await;
        for queue in &poisoned {
            let publication = Publication {
                to: Destination::Queue((*queue).clone()),
                headers: position_far_away(queue),
                body: vec![0xff; 16].into(),
            };
            client.publish(publication).await.expect("the broker takes it");
        }
    });
    drill.providers.set_latency(Duration::ZERO);
    until("each is parked", || parked(&drill) == poisoned.len());
    drill.end(0)
}

/// Of an event that comes long after all others.
fn position_far_away(queue: &str) -> Vec<(String, String)> {
    let Some(rest) = queue.strip_prefix("events.") else { return Vec::new() };
    let (_, stream) = rest.split_once('.').expect("a subscriber and a stream");
    let stream = stream.replacen('.', "/", 1);
    [("carillon-stream", stream.as_str()), ("carillon-seq", "1000000"), ("carillon-floor", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn parked(drill: &Drill) -> usize {
    let services = carillon_e2e::stack::SERVICES.iter();
    let parked = services.map(|service| drill.count(service, "SELECT COUNT(*) FROM parked"));
    parked.map(|count| usize::try_from(count).unwrap_or_default()).sum()
}
