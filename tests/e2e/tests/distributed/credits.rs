use std::time::{Duration, Instant};

use carillon_e2e::{Cli, Providers, Stack, customers, money};

use crate::{state, until, until_accepted, until_settled};

#[test]
fn what_cannot_be_paid_waits_for_the_next_credit_and_ends_with_the_deadline() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2)], &[]);
    let other = Cli::of(&stack.url, &stack.new_organisation("Another", &[]));
    let edge = Cli::of(&stack.url, &stack.new_organisation("At the edge", &[]));
    let providers = Providers::start(Duration::ZERO);
    let elsewhere = Providers::start(Duration::ZERO);
    providers.set_for(&stack, &[]);
    providers.set_for(&other, &[]);
    elsewhere.set_for(&edge, &[]);
    money::short_of_credits(&stack, &other, &providers);
    money::three_parts_at_the_edge(&edge);
    // Without a sandbox: what is only a try goes nowhere.
    let trying = Cli::of(&stack.url, &stack.new_organisation("Trying", &[]));
    let untouched = Providers::start(Duration::ZERO);
    untouched.set_for(&trying, &[]);
    money::by_a_test_key(&trying, &untouched);
}

/// Of a campaign on both channels.
#[test]
fn without_billing_sms_wait_and_mails_do_not() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let mut stack = Stack::start(&[("sms-dispatcher", 2)], &[]);
    let providers = Providers::start(Duration::from_millis(100));
    providers.set_for(&stack, &["--connections", "4"]);
    let file = stack.write("customers.csv", customers::csv(3_000));
    let _ = stack.run(&["customers", "import", &file]).ok();
    stack.credit(5_000);
    let id = stack.campaign(customers::CAMPAIGN);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    until_accepted(&providers, 100);
    assert_eq!(stack.terminate("billing", 1), Some(0));
    let begun = Instant::now();
    let short = until(&stack, &id, "SMS wait for billing", |report| {
        report["waiting"]["billing_unavailable"].as_u64() > Some(0)
    });
    let mails = providers.smtp.count();
    assert!(mails < 3_000, "the stop came in mid-run: {short}");
    until(&stack, &id, "all mails are sent meanwhile", |report| {
        let channels = report["channels"].as_array().expect("channels");
        let email = channels.iter().find(|one| one["channel"] == "email").expect("e-mail");
        email["states"]["sent"] == 3_000
    });
    std::thread::sleep(Duration::from_secs(30).saturating_sub(begun.elapsed()));
    let waiting = stack.report(&id);
    assert!(waiting["waiting"]["billing_unavailable"].as_u64() > Some(0), "{waiting}");
    stack.spawn("billing", 1);
    let report = until_settled(&stack, &id);
    assert_eq!(state(&report, "sent"), 6_000, "{report}");
    providers.assert_none_twice();
    let begun = Instant::now();
    while stack.balance()["held"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", stack.balance());
    }
    assert_eq!(stack.balance()["spent"], 3_000);
}
