//! A database that goes away, and commits of which nobody hears.

use std::{thread, time::Duration};

use crate::{
    Outcome, Size,
    drill::{BOTH, Drill, UNKNOWN_A_KILL, until},
    servers::Server,
};

pub(crate) fn restarted_and_away_for_a_minute(size: &Size) -> Outcome {
    // So few that whoever wants one has to wait for it.
    let few = [("CARILLON__DATABASE__CONNECTIONS", "4")];
    let mut drill = Drill::of(size.recipients / 6, &[("sms-dispatcher", 2)], &few);
    drill.providers.set_latency(Duration::from_millis(50));
    for _ in 0..2 {
        let before = drill.providers.total();
        drill.send(BOTH);
        drill.until_accepted(before + 10);
        Server::Postgres.restart();
        drill.kills += 1;
        until("campaigns are read again", || drill.stack.run(&["campaign", "list"]).code == 0);
    }
    let before = drill.providers.total();
    drill.send(BOTH);
    drill.until_accepted(before + 10);
    Server::Postgres.out_for(size.minute);
    drill.kills += 1;
    // Nobody was killed, and no clock is compared: nobody is taken for dead.
    drill.end(0)
}

/// The step is carried out again, and answers what it took the first time.
pub(crate) fn answers_to_commits_lost(size: &Size) -> Outcome {
    let mut drill = Drill::new(size, &[]);
    let every_third = "2*off->1*return->2*off->1*return->2*off->1*return";
    for (service, commits) in [
        ("scheduler", &["schedule.fire"][..]),
        ("segment-evaluator", &["plan.step", "release.settle", "inbox.handle", "outbox.settle"]),
        ("sms-dispatcher", &["dispatch.step", "outbox.settle"]),
        ("email-dispatcher", &["dispatch.step", "outbox.settle"]),
        ("billing", &["billing.hold", "inbox.handle"]),
        ("campaign-api", &["inbox.handle", "outbox.settle"]),
    ] {
        let faults: Vec<String> = commits
            .iter()
            .map(|commit| match *commit {
                "schedule.fire" | "billing.hold" => format!("{commit}.answer=2*return"),
                _ => format!("{commit}.answer={every_third}"),
            })
            .collect();
        drill.arm(service, 1, &faults.join(";"));
    }
    drill.send(BOTH);
    // The same by a server that dies in the midst of commits.
    drill.until_accepted(size.recipients / 4);
    drill.providers.set_latency(Duration::from_millis(50));
    Server::Postgres.restart();
    drill.kills += 1;
    drill.end(0)
}

/// A dispatcher that stands still is taken for dead, and what it does when it wakes changes nothing.
pub(crate) fn a_zombie(size: &Size) -> Outcome {
    let mut drill = Drill::new(size, &[("sms-dispatcher", 2), ("email-dispatcher", 2)]);
    drill.providers.set_latency(Duration::from_millis(300));
    let whole = drill.send(BOTH);
    let cancelled = drill.send(BOTH);
    let late = drill.send_for(BOTH, Duration::from_secs(25));
    drill.until_accepted(size.recipients / 10);
    let dispatchers = ["sms-dispatcher", "email-dispatcher"];
    for dispatcher in dispatchers {
        drill.stack.signal(dispatcher, 1, "STOP");
    }
    let _ = drill.stack.run(&["campaign", "cancel", &cancelled]).ok();
    // Past its takeover and past the one campaign's deadline.
    thread::sleep(size.minute.max(Duration::from_secs(32)));
    for id in [&whole, &cancelled, &late] {
        drill.until_settled(id);
    }
    let before = drill.providers.total();
    for dispatcher in dispatchers {
        drill.stack.signal(dispatcher, 1, "CONT");
    }
    // What it had in hand would go at once, if at all.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(drill.providers.total(), before, "calls after the takeover");
    // Fenced, it goes on with a new epoch.
    drill.send(BOTH);
    drill.end(dispatchers.len() * UNKNOWN_A_KILL)
}
