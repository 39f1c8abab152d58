use std::time::Duration;

use carillon_e2e::{Cli, Providers, Stack, settings};

#[test]
fn consent_and_markets_hold_for_what_is_queued_and_leave_nobody_suppressed_for_ever() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    settings::hold_for_what_is_queued(&stack, &Providers::start(Duration::ZERO));
    let other = Cli::of(&stack.url, &stack.new_organisation("Another", &[]));
    settings::leave_nobody_suppressed(&other, &Providers::start(Duration::ZERO));
}
