//! kill -9 at random moments: nothing is lost, nothing is sent twice, and what cannot be known is
//! counted.

use std::{thread, time::Duration};

use carillon_e2e::{LATENCIES, Server, customers};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const KILLS: u64 = 20;
/// 128 messages each 200 ms: 20,000 outlast the kills, and every life finishes some.
const SLOW_MS: &str = "200";
/// 2·W: what one kill can leave unknown.
const UNKNOWN_A_KILL: u64 = 128;

#[test]
fn twenty_kills_in_20000_messages_lose_nothing_and_repeat_nothing() {
    let seed = rand::rng().random();
    println!("the moments of the kills follow from the seed {seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let mut server = Server::start(&LATENCIES.map(|name| (name, SLOW_MS)));
    let file = server.write("customers.csv", customers::csv(10_000));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(15_000);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    for kill in 1..=KILLS {
        thread::sleep(Duration::from_millis(moments.random_range(20..700)));
        let report = server.report(&id);
        let over = report["plan_complete"] == true && report["in_flight"] == 0;
        assert!(!over, "kill {kill} came after the run; make SLOW_MS more (seed {seed}): {report}");
        server.kill();
        if kill == KILLS {
            LATENCIES.into_iter().for_each(|name| server.set(name, "5"));
        }
        server.spawn();
    }
    let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
    let report = server.report(&id);
    let state = |name: &str| report["states"][name].as_u64().unwrap_or_default();
    assert_eq!(report["matched"], 20_000);
    assert_eq!(report["in_flight"], 0);
    assert_eq!(state("sent") + state("unknown"), 20_000, "{report}");
    assert!(state("unknown") <= UNKNOWN_A_KILL * KILLS, "{report}");

    let mut accepted = 0;
    for channel in ["sms", "email"] {
        let kept = server.accepted(channel);
        let twice: Vec<_> = kept.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "sent twice: {twice:?}");
        accepted += kept.len() as u64;
    }
    assert!(accepted >= state("sent"), "lost: {accepted} accepted of {report}");
    assert!(accepted <= 20_000);
    let detail = server.detail(&id);
    assert_eq!(detail.len(), 20_000);
    let kept = (server.accepted("sms"), server.accepted("email"));
    for row in detail.iter().filter(|row| row["state"] == "sent") {
        let kept = if row["channel"] == "sms" { &kept.0 } else { &kept.1 };
        assert!(kept.contains_key(&row["message_id"]), "reported sent but not accepted: {row:?}");
    }
    let balance = server.run(&["balance", "show", "-o", "json"]).ok().json();
    assert_eq!(balance["spent"], 10_000);
    assert_eq!((&balance["held"], &balance["available"]), (&0.into(), &5_000.into()));
    println!("{KILLS} kills in the run: {report}");
}

#[test]
fn a_kill_during_the_very_first_start_leaves_a_folder_that_starts() {
    let mut server = Server::unstarted(&[]);
    for milliseconds in [3, 10, 20, 35, 50, 70, 100, 150] {
        server.begin();
        thread::sleep(Duration::from_millis(milliseconds));
        server.kill();
    }
    server.spawn();
    let _ = server.new_organisation("After all", &[]);
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let server = Server::start(&[]);
    let data = server.data().display().to_string();
    let refused = server.run(&["dev", "--port", "0", "--data", &data]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is in use by another `carillon dev`"), "{}", refused.err);
}

#[test]
fn a_graceful_stop_leaves_nothing_unknown() {
    let mut server = Server::start(&[
        ("CARILLON__SMS_DISPATCHER__SANDBOX__LATENCY_MS", "100"),
        ("CARILLON__EMAIL_DISPATCHER__SANDBOX__LATENCY_MS", "100"),
    ]);
    let file = server.write("customers.csv", customers::csv(1_000));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(2_000);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        assert_eq!(server.terminate(), Some(0), "{}", server.read_log());
        server.spawn();
    }
    let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
    let report = server.report(&id);
    assert_eq!(report["states"]["sent"], 2_000, "{report}");
}
