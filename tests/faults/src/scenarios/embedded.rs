//! `carillon dev`: one process, one folder.

use std::{collections::BTreeMap, thread, time::Duration};

use carillon_e2e::{LATENCIES, Server, customers, money::assert_adds_up};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Outcome, Size, drill::UNKNOWN_A_KILL};

const KILLS: usize = 20;
/// 20,000 messages, 128 at a time, outlast the kills, and every life finishes some.
const CUSTOMERS: usize = 10_000;
const SLOW_MS: &str = "200";

/// As large at any size: the kills have to fall into the run.
pub(crate) fn killed_and_started_twice(size: &Size) -> Outcome {
    let seed = rand::rng().random();
    println!("   the moments of the kills follow from the seed {seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let mut server = Server::start(&LATENCIES.map(|name| (name, SLOW_MS)));
    a_second_is_refused(&server);
    let recipients = size.recipients.max(2 * CUSTOMERS);
    let id = start(&server, recipients / 2);
    for kill in 1..=KILLS {
        thread::sleep(Duration::from_millis(moments.random_range(20..700)));
        let report = server.report(&id);
        let over = report["plan_complete"] == true && report["in_flight"] == 0;
        assert!(!over, "kill {kill} came after the run: {report}");
        server.kill();
        if kill == KILLS {
            LATENCIES.into_iter().for_each(|name| server.set(name, "0"));
        }
        server.spawn();
    }
    let outcome = end(&server, &id);
    assert_eq!(outcome.recipients, recipients);
    assert!(outcome.unknown <= UNKNOWN_A_KILL * KILLS, "{outcome:?}");
    Outcome { kills: KILLS, ..outcome }
}

fn a_second_is_refused(server: &Server) {
    let data = server.data().display().to_string();
    let refused = server.run(&["dev", "--port", "0", "--data", &data]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is in use by another `carillon dev`"), "{}", refused.err);
}

/// Starts a campaign to so many customers on both channels.
pub(super) fn start(server: &Server, count: usize) -> String {
    let file = server.write("customers.csv", customers::csv(count));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(2 * count as u64);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    id
}

/// Follows the campaign to its end, and holds that against the promises.
pub(super) fn end(server: &Server, id: &str) -> Outcome {
    let _ = server.run(&["campaign", "start", id, "--yes", "--wait"]).ok();
    let report = server.report(id);
    let state = |name: &str| report["states"][name].as_u64().unwrap_or_default() as usize;
    let planned = report["planned"].as_u64().expect("a count") as usize;
    assert_eq!(state("sent") + state("unknown"), planned, "{report}");
    let mut accepted: BTreeMap<String, u32> = server.accepted("sms");
    accepted.extend(server.accepted("email"));
    let mut outcome = Outcome {
        recipients: planned,
        sent: state("sent"),
        unknown: state("unknown"),
        duplicated: accepted.values().filter(|times| **times > 1).count(),
        ..Outcome::default()
    };
    let detail = server.detail(id);
    for row in detail.iter().filter(|row| row["state"] == "sent") {
        outcome.lost += usize::from(!accepted.contains_key(&row["message_id"]));
    }
    assert_eq!((outcome.lost, outcome.duplicated), (0, 0), "lost, sent twice");
    let balance = server.balance();
    assert_adds_up(&balance);
    assert_eq!(balance["held"], 0, "{balance}");
    outcome
}
