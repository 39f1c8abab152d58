//! The scenarios, by what breaks.

mod broker;
mod disk;
mod dispatchers;
mod embedded;
mod money;
mod planner;
mod queues;
mod receipts;
mod schedule;
mod sms;
mod smtp;
mod store;
mod theft;

use crate::{
    Parts::{Distributed, Embedded},
    Scenario,
};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        number: 1,
        title: "segment-evaluator killed 20 times while planning",
        parts: Distributed,
        run: planner::killed_while_planning,
    },
    Scenario {
        number: 2,
        title: "relay killed between a confirm and its mark",
        parts: Distributed,
        run: planner::relays_killed_after_the_confirm,
    },
    Scenario {
        number: 3,
        title: "dispatcher killed before its first claim",
        parts: Distributed,
        run: dispatchers::killed_before_the_first_claim,
    },
    Scenario {
        number: 4,
        title: "dispatcher killed around a claim, before the call",
        parts: Distributed,
        run: dispatchers::killed_before_the_call,
    },
    Scenario {
        number: 5,
        title: "dispatcher killed after the 200, before the record",
        parts: Distributed,
        run: dispatchers::killed_before_the_record,
    },
    Scenario {
        number: 6,
        title: "dispatcher killed around its last event and its ack",
        parts: Distributed,
        run: dispatchers::killed_after_the_last_record,
    },
    Scenario {
        number: 7,
        title: "30 kills at random moments over all services",
        parts: Distributed,
        run: dispatchers::anyone_killed_at_any_moment,
    },
    Scenario {
        number: 8,
        title: "3 schedulers killed while firing",
        parts: Distributed,
        run: schedule::schedulers_killed_while_firing,
    },
    Scenario {
        number: 9,
        title: "billing killed in holds and totals; totals replayed",
        parts: Distributed,
        run: money::billing_killed_and_totals_replayed,
    },
    Scenario {
        number: 10,
        title: "20 campaigns on half the credits, with kills",
        parts: Distributed,
        run: money::never_oversold,
    },
    Scenario {
        number: 11,
        title: "RabbitMQ restarted, and away for a minute",
        parts: Distributed,
        run: broker::restarted_and_away_for_a_minute,
    },
    Scenario {
        number: 12,
        title: "every queue emptied and deleted in mid-run",
        parts: Distributed,
        run: broker::queues_emptied_and_deleted,
    },
    Scenario {
        number: 12,
        title: "each kind of event lost after its confirm",
        parts: Distributed,
        run: theft::each_kind_of_event,
    },
    Scenario {
        number: 13,
        title: "a full queue, an unbound queue",
        parts: Distributed,
        run: queues::a_full_and_an_unbound_queue,
    },
    Scenario {
        number: 14,
        title: "a poisoned message on every queue",
        parts: Distributed,
        run: queues::a_poisoned_message_on_every_queue,
    },
    Scenario {
        number: 15,
        title: "PostgreSQL restarted, and away for a minute",
        parts: Distributed,
        run: store::restarted_and_away_for_a_minute,
    },
    Scenario {
        number: 16,
        title: "dispatchers that stood still and woke up",
        parts: Distributed,
        run: store::a_zombie,
    },
    Scenario {
        number: 23,
        title: "every service stopped by SIGTERM three times",
        parts: Distributed,
        run: schedule::everyone_stopped_in_turn,
    },
    Scenario {
        number: 26,
        title: "answers to commits lost",
        parts: Distributed,
        run: store::answers_to_commits_lost,
    },
    Scenario {
        number: 24,
        title: "`carillon dev` killed 20 times; a second one refused",
        parts: Embedded,
        run: embedded::killed_and_started_twice,
    },
    Scenario {
        number: 25,
        title: "disk full, SQLite",
        parts: Embedded,
        run: disk::full_under_sqlite,
    },
    Scenario {
        number: 25,
        title: "the clock set ahead and back, SQLite",
        parts: Embedded,
        run: disk::clock_set_under_sqlite,
    },
    Scenario {
        number: 25,
        title: "disk full, PostgreSQL",
        parts: Distributed,
        run: disk::full_under_postgres,
    },
    Scenario {
        number: 25,
        title: "the clock set ahead and back, PostgreSQL",
        parts: Distributed,
        run: disk::clock_set_under_postgres,
    },
    Scenario {
        number: 17,
        title: "SMTP server drops before the final dot, 5 %",
        parts: Distributed,
        run: smtp::dropped_before_the_dot,
    },
    Scenario {
        number: 18,
        title: "SMTP server drops after the final dot, 1 %",
        parts: Distributed,
        run: smtp::dropped_after_the_dot,
    },
    Scenario {
        number: 19,
        title: "SMTP server answers 421, 450, 452, 550, 552, slowly, never",
        parts: Distributed,
        run: smtp::answered_in_every_way,
    },
    Scenario {
        number: 20,
        title: "SMS provider answers 429, 5xx, slowly, wrongly, never",
        parts: Distributed,
        run: sms::answered_in_every_way,
    },
    Scenario {
        number: 21,
        title: "providers down past the deadline",
        parts: Distributed,
        run: sms::down_past_the_deadline,
    },
    Scenario {
        number: 22,
        title: "receipts ten times, shuffled, early, of nobody, forged",
        parts: Distributed,
        run: receipts::told_in_every_way,
    },
];
