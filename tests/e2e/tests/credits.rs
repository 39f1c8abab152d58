//! What cannot be paid is not sent, and no credit is lost or spent twice, in one process.

use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Cli, Providers, Server, money};

#[test]
fn what_cannot_be_paid_waits_for_the_next_credit_and_ends_with_the_deadline() {
    let server = Server::start(&[]);
    let other = Cli::of(&server.url, &server.new_organisation("Another", &[]));
    let providers = Providers::start(Duration::ZERO);
    providers.set_for(&server, &[]);
    providers.set_for(&other, &[]);
    money::short_of_credits(&server, &other, &providers);
}

#[test]
fn what_a_test_key_starts_reaches_no_provider_and_costs_nothing() {
    let server = Server::start(&[]);
    let providers = Providers::start(Duration::ZERO);
    providers.set_for(&server, &[]);
    money::by_a_test_key(&server, &providers);
}

#[test]
fn messages_of_three_parts_at_the_edge_strand_nothing() {
    money::three_parts_at_the_edge(&Server::start(&[]));
}

#[test]
fn twenty_campaigns_on_half_the_credits_send_exactly_as_many_as_were_paid_for() {
    let mut server = Server::start(&[]);
    let providers = Providers::start(Duration::from_millis(50));
    let (mut kills, mut last) = (0, Instant::now());
    let _ = money::oversubscribed(&mut server, 200, &providers, |server, accepted| {
        if kills < 5 && accepted > 500 && last.elapsed() > Duration::from_millis(700) {
            server.kill();
            thread::sleep(Duration::from_millis(50));
            server.spawn();
            (kills, last) = (kills + 1, Instant::now());
        }
    });
    assert!(kills >= 3, "only {kills} kills fell into the run");
}
