use std::{thread, time::Duration};

use carillon_e2e::{Providers, Stack, stack::SERVICES};

use crate::{RECIPIENTS, campaign_to_20000, state, until_accepted, until_settled};

#[test]
fn every_service_stopped_three_times_under_load_loses_nothing_and_leaves_nothing_unknown() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    // Slow enough that a busy machine has stopped everything three times before the run's last
    // third.
    let mut stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    let providers = Providers::start(Duration::from_millis(1_500));
    providers.set_for(&stack, &[]);
    let id = campaign_to_20000(&stack);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    until_accepted(&providers, 200);
    for round in 0..3 {
        for service in SERVICES {
            let replicas = if service.ends_with("dispatcher") { 2 } else { 1 };
            for number in 1..=replicas {
                let ended = stack.terminate(service, number);
                assert_eq!(ended, Some(0), "{}", stack.read_log(service, number));
                stack.begin(service, number);
            }
        }
        for (service, number) in stack.replicas() {
            stack.wait_ready(&service, number);
        }
        let open = RECIPIENTS - providers.total() as u64;
        println!("round {round}: {open} of {RECIPIENTS} still open");
        assert!(open * 10 >= RECIPIENTS * 3, "round {round}: {open} open are too few");
    }
    providers.set_latency(Duration::ZERO);
    let report = until_settled(&stack, &id);
    assert_eq!(state(&report, "sent"), RECIPIENTS, "{report}");
    providers.assert_none_twice();
    assert_eq!(providers.accepted().len() as u64, RECIPIENTS);
}

#[test]
fn a_wiped_broker_loses_nothing_and_repeats_nothing() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    let providers = Providers::start(Duration::from_millis(60));
    providers.set_for(&stack, &[]);
    let id = campaign_to_20000(&stack);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    until_accepted(&providers, 3_000);
    // The virtual host goes with its exchanges, queues, messages and connections.
    stack.wait(stack.rabbit.delete_vhost());
    thread::sleep(Duration::from_secs(1));
    stack.wait(stack.rabbit.create_vhost());
    assert!((providers.total() as u64) < RECIPIENTS, "the wipe came in mid-run");
    let report = until_settled(&stack, &id);
    assert_eq!(state(&report, "sent"), RECIPIENTS, "{report}");
    providers.assert_none_twice();
    assert_eq!(providers.accepted().len() as u64, RECIPIENTS);
}
