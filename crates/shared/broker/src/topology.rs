//! Who hears what: queues and their bindings, in one place.

pub const CAMPAIGN_API: &str = "campaign-api";
pub const SCHEDULER: &str = "scheduler";
pub const SEGMENT_EVALUATOR: &str = "segment-evaluator";
pub const SMS_DISPATCHER: &str = "sms-dispatcher";
pub const EMAIL_DISPATCHER: &str = "email-dispatcher";
pub const BILLING: &str = "billing";

pub const SERVICES: [&str; 6] =
    [CAMPAIGN_API, SCHEDULER, SEGMENT_EVALUATOR, SMS_DISPATCHER, EMAIL_DISPATCHER, BILLING];

pub const ORGANISATION_CHANGED: &str = "organisation.changed";
pub const CAMPAIGN_PUBLISHED: &str = "campaign.published";
pub const RUN_DUE: &str = "run.due";
pub const RUN_MISSED: &str = "run.missed";
pub const BATCH_PLANNED: &str = "batch.planned";
pub const RUN_PLANNED: &str = "run.planned";
pub const DELIVERY_CHANGED: &str = "delivery.changed";
pub const BALANCE_RAISED: &str = "balance.raised";
pub const BALANCE_LOW: &str = "balance.low";
pub const CAMPAIGN_HALTED: &str = "campaign.halted";
pub const SUPPRESSION_CHANGED: &str = "suppression.changed";
pub const REPLY_RECEIVED: &str = "reply.received";
pub const AUDIT_RECORDED: &str = "audit.recorded";
pub const GATEWAY_CHANGED: &str = "gateway.changed";

pub const EVENTS: [&str; 14] = [
    ORGANISATION_CHANGED,
    CAMPAIGN_PUBLISHED,
    RUN_DUE,
    RUN_MISSED,
    BATCH_PLANNED,
    RUN_PLANNED,
    DELIVERY_CHANGED,
    BALANCE_RAISED,
    BALANCE_LOW,
    CAMPAIGN_HALTED,
    SUPPRESSION_CHANGED,
    REPLY_RECEIVED,
    AUDIT_RECORDED,
    GATEWAY_CHANGED,
];

/// Somebody waits for these to be in effect: who handles one says so at once.
pub fn is_urgent(event: &str) -> bool {
    [ORGANISATION_CHANGED, CAMPAIGN_HALTED, SUPPRESSION_CHANGED].contains(&event)
}

/// Documents of which the newest counts: a subscriber that comes late needs those that are current,
/// and none that came before them.
pub fn is_projection(event: &str) -> bool {
    [ORGANISATION_CHANGED, CAMPAIGN_HALTED, SUPPRESSION_CHANGED].contains(&event)
}

/// The services that hear an event type. The e-mail dispatcher's deliveries cost nothing, so
/// billing hears those of the SMS dispatcher alone; it is the producer that is named here.
pub fn subscribers(event: &str, producer: &str) -> &'static [&'static str] {
    match event {
        ORGANISATION_CHANGED => {
            &[SCHEDULER, SEGMENT_EVALUATOR, SMS_DISPATCHER, EMAIL_DISPATCHER, BILLING]
        }
        CAMPAIGN_PUBLISHED => &[SCHEDULER],
        RUN_DUE => &[SEGMENT_EVALUATOR, CAMPAIGN_API],
        RUN_MISSED | BATCH_PLANNED | RUN_PLANNED => &[CAMPAIGN_API],
        DELIVERY_CHANGED if producer == SMS_DISPATCHER => {
            &[CAMPAIGN_API, SEGMENT_EVALUATOR, BILLING]
        }
        DELIVERY_CHANGED => &[CAMPAIGN_API, SEGMENT_EVALUATOR],
        BALANCE_RAISED => &[SMS_DISPATCHER],
        BALANCE_LOW | AUDIT_RECORDED | GATEWAY_CHANGED => &[CAMPAIGN_API],
        CAMPAIGN_HALTED => &[SCHEDULER, SEGMENT_EVALUATOR, SMS_DISPATCHER, EMAIL_DISPATCHER],
        SUPPRESSION_CHANGED => &[SMS_DISPATCHER, EMAIL_DISPATCHER],
        REPLY_RECEIVED => &[SEGMENT_EVALUATOR],
        _ => &[],
    }
}

/// The services that produce an event type.
pub fn producers(event: &str) -> &'static [&'static str] {
    match event {
        ORGANISATION_CHANGED | CAMPAIGN_PUBLISHED | CAMPAIGN_HALTED => &[CAMPAIGN_API],
        RUN_DUE | RUN_MISSED => &[SCHEDULER],
        BATCH_PLANNED | RUN_PLANNED | SUPPRESSION_CHANGED => &[SEGMENT_EVALUATOR],
        DELIVERY_CHANGED => &[SMS_DISPATCHER, EMAIL_DISPATCHER],
        BALANCE_RAISED | BALANCE_LOW => &[BILLING],
        REPLY_RECEIVED | GATEWAY_CHANGED => &[SMS_DISPATCHER],
        AUDIT_RECORDED => &[SEGMENT_EVALUATOR, BILLING],
        _ => &[],
    }
}

/// "<producer>/<event type>": what is numbered without gaps.
pub fn stream(producer: &str, event: &str) -> String {
    format!("{producer}/{event}")
}

/// The producer and the event type of a stream.
pub fn parse_stream(stream: &str) -> Option<(&str, &str)> {
    stream.split_once('/')
}

/// The queue on which a subscriber hears one event type of one producer.
pub fn event_queue(subscriber: &str, stream: &str) -> String {
    format!("events.{subscriber}.{}", stream.replace('/', "."))
}

/// The queue on which a producer hears how far its subscribers are.
pub fn marks_queue(producer: &str) -> String {
    format!("marks.{producer}")
}

/// The queue of batches of one channel and class, such as `jobs.sms.bulk`.
pub fn job_queue(channel: &str, class: &str) -> String {
    format!("jobs.{channel}.{class}")
}

pub const CHANNELS: [&str; 2] = ["sms", "email"];
pub const CLASSES: [&str; 3] = ["otp", "transactional", "bulk"];

/// Every queue, with the stream it is bound to if it is one for events.
pub fn queues() -> Vec<(String, Option<String>)> {
    let mut queues = Vec::new();
    for event in EVENTS {
        for producer in producers(event) {
            let stream = stream(producer, event);
            for subscriber in subscribers(event, producer) {
                queues.push((event_queue(subscriber, &stream), Some(stream.clone())));
            }
        }
    }
    queues.extend(SERVICES.map(|service| (marks_queue(service), None)));
    for channel in CHANNELS {
        queues.extend(CLASSES.map(|class| (job_queue(channel, class), None)));
    }
    queues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_producer_and_a_subscriber() {
        for event in EVENTS {
            assert!(!producers(event).is_empty(), "{event}");
            for producer in producers(event) {
                assert!(!subscribers(event, producer).is_empty(), "{event} of {producer}");
            }
        }
    }

    #[test]
    fn queue_names_are_unique() {
        let mut names: Vec<String> = queues().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
