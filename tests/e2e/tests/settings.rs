//! Settings that change while messages wait, in one process.

use std::time::Duration;

use carillon_e2e::{Cli, Providers, Server, settings};

#[test]
fn consent_and_markets_hold_for_what_is_queued_and_leave_nobody_suppressed_for_ever() {
    let server = Server::start(&[]);
    settings::hold_for_what_is_queued(&server, &Providers::start(Duration::ZERO));
    let other = Cli::of(&server.url, &server.new_organisation("Another", &[]));
    settings::leave_nobody_suppressed(&other, &Providers::start(Duration::ZERO));
}
