//! Kills and stops of `carillon dev`. Kills in the midst of a run: `tests/faults`, 24.

use std::{thread, time::Duration};

use carillon_e2e::{Server, customers};

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
