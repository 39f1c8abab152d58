//! Queues that refuse, miss and garble.

use std::{thread, time::Duration};

use carillon_broker::{Broker as _, Destination, Publication, topology};
use carillon_e2e::stack::SERVICES;

use crate::{
    Outcome, SOONER, Size,
    check::parked,
    drill::{BOTH, Drill, SMS, until},
    spy::EXCHANGE,
};

pub(crate) fn a_full_and_an_unbound_queue(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients / 5, &[], SOONER);
    full(&mut drill);
    alone_and_unbound(&mut drill);
    unbound_beside_others(&mut drill);
    drill.end(0)
}

fn full(drill: &mut Drill) {
    // Nobody takes anything out.
    drill.stack.terminate("segment-evaluator", 1);
    let due = Hearing::of("segment-evaluator", topology::SCHEDULER, topology::RUN_DUE);
    drill.stack.wait(drill.stack.rabbit.limit_queue(&due.queue(), 1));
    for _ in 0..3 {
        drill.send(SMS);
    }
    until("the scheduler keeps what the queue refuses", || drill.unsent("scheduler") > 0);
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        assert!(drill.unsent("scheduler") > 0, "what the queue refused counted as published");
    }
    let mut unsent = || metric(drill, "scheduler", "carillon_outbox_rows", &[]);
    until("a metric tells", || unsent() > 0.0);
    drill.stack.wait(drill.stack.rabbit.unlimit_queue());
    until("it is published", || drill.unsent("scheduler") == 0);
    drill.stack.spawn("segment-evaluator", 1);
}

/// Where nobody else hears the event, the broker gives it back, and the queue is bound again before
/// the event counts as published.
fn alone_and_unbound(drill: &mut Drill) {
    let planned = Hearing::of("campaign-api", "segment-evaluator", topology::RUN_PLANNED);
    planned.unbind(drill);
    let told = planned.told(drill);
    drill.send(SMS);
    until("the plan's end is heard of", || planned.handled(drill) > told);
    assert!(planned.is_bound(drill), "it counted as published, and was sent again");
}

/// Where others hear the event, the broker confirms what the queue never gets: its subscriber's mark
/// stays behind until the event goes again, to the queue itself. Nobody is stopped: whoever connects
/// binds everything.
fn unbound_beside_others(drill: &mut Drill) {
    let hearings = [
        Hearing::of("campaign-api", topology::SCHEDULER, topology::RUN_DUE),
        Hearing::of("billing", topology::SMS_DISPATCHER, topology::DELIVERY_CHANGED),
    ];
    for id in drill.campaigns.clone() {
        drill.until_settled(&id);
    }
    let client = drill.stack.wait(drill.stack.rabbit.client());
    let told = hearings.each_ref().map(|hearing| {
        until("all is handled", || hearing.lag(drill) == 0.0);
        hearing.unbind(drill);
        hearing.told(drill)
    });
    drill.send(SMS);
    for (hearing, told) in hearings.iter().zip(told) {
        let queue = hearing.queue();
        until(&format!("{queue} lacks what was confirmed, and a metric tells"), || {
            let confirmed = hearing.confirmed(drill);
            let depth = drill.stack.wait(client.depth(&queue)).expect("a queue");
            confirmed > told
                && hearing.handled(drill) < confirmed
                && depth.ready == 0
                && hearing.lag(drill) > 0.0
        });
        assert!(!hearing.is_bound(drill), "{queue} was bound again");
    }
    for (hearing, told) in hearings.iter().zip(told) {
        let queue = hearing.queue();
        until(&format!("{queue} gets it again"), || hearing.sent_again(drill) > told);
        until(&format!("{queue} lacks nothing"), || hearing.lag(drill) == 0.0);
    }
}

/// A subscriber of one stream.
pub(super) struct Hearing {
    subscriber: &'static str,
    producer: &'static str,
    stream: String,
}

impl Hearing {
    pub(super) fn of(subscriber: &'static str, producer: &'static str, event: &str) -> Self {
        Self { subscriber, producer, stream: topology::stream(producer, event) }
    }

    pub(super) fn queue(&self) -> String {
        topology::event_queue(self.subscriber, &self.stream)
    }

    fn unbind(&self, drill: &Drill) {
        let rabbit = &drill.stack.rabbit;
        drill.stack.wait(rabbit.unbind_queue(&self.queue(), EXCHANGE, &self.stream));
        assert!(!self.is_bound(drill));
    }

    fn is_bound(&self, drill: &Drill) -> bool {
        drill.stack.wait(drill.stack.rabbit.is_bound(&self.queue(), EXCHANGE))
    }

    /// Events numbered so far.
    pub(super) fn told(&self, drill: &Drill) -> i64 {
        self.highest(drill, self.producer, "last_seq", "streams")
    }

    /// The last event that is kept and that the broker has confirmed.
    fn confirmed(&self, drill: &Drill) -> i64 {
        let sent = "(SELECT * FROM outbox WHERE sent_at IS NOT NULL) sent";
        self.highest(drill, self.producer, "seq", sent)
    }

    /// The event up to which the subscriber has handled all.
    pub(super) fn handled(&self, drill: &Drill) -> i64 {
        self.highest(drill, self.subscriber, "mark", "marks")
    }

    /// The last event that was sent to the queue itself.
    fn sent_again(&self, drill: &Drill) -> i64 {
        let own =
            format!("(SELECT * FROM subscribers WHERE subscriber = '{}') own", self.subscriber);
        self.highest(drill, self.producer, "again_seq", &own)
    }

    fn highest(&self, drill: &Drill, service: &str, what: &str, of: &str) -> i64 {
        let stream = &self.stream;
        let sql = format!("SELECT COALESCE(MAX({what}), 0) FROM {of} WHERE stream = '{stream}'");
        drill.count(service, &sql)
    }

    /// Events that it lacks, as the producer's metrics say.
    fn lag(&self, drill: &mut Drill) -> f64 {
        let labels = [self.stream.as_str(), self.subscriber];
        metric(drill, self.producer, "carillon_marks_lag", &labels)
    }
}

/// The sum of the metric's figures that have these labels' values.
fn metric(drill: &mut Drill, service: &str, name: &str, labels: &[&str]) -> f64 {
    let metrics = drill.stack.metrics(service, 1);
    let values: Vec<String> = labels.iter().map(|label| format!("=\"{label}\"")).collect();
    let lines = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with(['{', ' ']) && values.iter().all(|value| rest.contains(value))
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// What cannot be read is parked; a mark that cannot be read is dropped, for the next one says as
/// much.
pub(crate) fn a_poisoned_message_on_every_queue(size: &Size) -> Outcome {
    let mut drill = Drill::new(size, &[]);
    drill.providers.set_latency(Duration::from_millis(50));
    drill.send(BOTH);
    let queues = drill.stack.wait(drill.stack.rabbit.queues());
    assert_eq!(queues.len(), topology::queues().len());
    drill.stack.wait(async {
        let client = drill.stack.rabbit.client().await;
        for queue in &queues {
            let publication = Publication {
                to: Destination::Queue(queue.clone()),
                headers: position_far_away(queue),
                body: vec![0xff; 16].into(),
            };
            client.publish(publication).await.expect("the broker takes it");
        }
    });
    drill.providers.set_latency(Duration::ZERO);
    let marks = SERVICES.map(topology::marks_queue);
    let to_park = queues.iter().filter(|queue| !marks.contains(queue)).count();
    until("each is parked", || parked(|service, sql| drill.count(service, sql)) == to_park);
    for service in SERVICES {
        until(&format!("{service} tells of a mark"), || {
            drill.stack.read_log(service, 1).contains("a mark that cannot be read")
        });
    }
    until("the metrics tell of each", || {
        let told = SERVICES.map(|service| metric(&mut drill, service, "carillon_parked", &[]));
        told.iter().sum::<f64>() == to_park as f64
    });
    until("the metrics tell of the marks", || {
        SERVICES.iter().all(|service| {
            metric(&mut drill, service, "carillon_marks_unreadable_total", &[]) == 1.0
        })
    });
    drill.may_park(to_park);
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
