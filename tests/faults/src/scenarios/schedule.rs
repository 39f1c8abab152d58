//! Kills of those who fire, and stops of everybody in turn.

use std::{thread, time::Duration};

use carillon_e2e::stack::SERVICES;

use crate::{
    Outcome, Size,
    drill::{BOTH, Drill, EMAIL, local, now, until},
};

/// Seconds over which campaigns are due, so that each scheduler gets to fire.
const MOMENTS: usize = 6;

/// Campaigns to one customer, one for each hundred messages of other scenarios.
pub(crate) fn schedulers_killed_while_firing(size: &Size) -> Outcome {
    let mut drill = Drill::of(1, &[("scheduler", 3)], &[]);
    let count = size.recipients / 100;
    let due = now() + Duration::from_secs(25 + count as u64 / 20);
    for campaign in 0..count {
        let due = due + Duration::from_secs((campaign % MOMENTS) as u64);
        let id = drill.draft(&format!("{{ once: \"{}\" }}", local(due)), "1h", EMAIL);
        drill.start(&id, EMAIL);
    }
    let all = i64::try_from(count).expect("a count");
    let waiting =
        format!("SELECT COUNT(*) FROM schedules WHERE next_fire_at > {}", now().as_millisecond());
    until("all wait for their moment", || drill.count("scheduler", &waiting) == all);
    assert!(now() < due, "storing {count} campaigns took longer than expected");
    // One dies with the first that it is about to fire; the others fire before they die, one with
    // what it is about to fire, and one with what it fired.
    let faults = ["before=return", "before=1*off->return", "after=1*off->return"];
    for (number, fault) in (1..).zip(faults) {
        drill.arm("scheduler", number, &format!("schedule.fire.{fault}"));
    }
    for number in 1..=3 {
        drill.dies("scheduler", number);
    }
    for number in 1..=3 {
        drill.begin_with("scheduler", number, "");
    }
    drill.wait_ready();
    let fired = "SELECT COUNT(*) FROM runs";
    until("all fired", || drill.count("scheduler", fired) == all);
    let outcome = drill.end(0);
    assert_eq!(outcome.recipients, count, "each fired once");
    outcome
}

pub(crate) fn everyone_stopped_in_turn(size: &Size) -> Outcome {
    let dispatchers = [("sms-dispatcher", 2), ("email-dispatcher", 2)];
    let mut drill = Drill::new(size, &dispatchers);
    // So slow that all are stopped three times in the run.
    drill.providers.set_latency(Duration::from_millis(3_000));
    drill.send(BOTH);
    drill.until_accepted(50);
    for round in 0..3 {
        for service in SERVICES {
            for number in 1..=if service.ends_with("dispatcher") { 2 } else { 1 } {
                let ended = drill.stack.terminate(service, number);
                assert_eq!(ended, Some(0), "{}", drill.stack.read_log(service, number));
                drill.stack.begin(service, number);
            }
        }
        drill.wait_ready();
        let open = size.recipients - drill.providers.total();
        assert!(open > 0, "round {round} came after the run");
        thread::sleep(Duration::from_millis(300));
    }
    drill.providers.set_latency(Duration::ZERO);
    drill.end(0)
}
