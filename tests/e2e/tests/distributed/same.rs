use std::time::Duration;

use carillon_e2e::{Cli, Providers, Server, Stack, root};

use crate::until_settled;

/// The examples through the organisation's own providers; answers the detail, sorted.
fn run(cli: &Cli, providers: &Providers) -> Vec<[String; 5]> {
    providers.set_for(cli, &[]);
    let tested = cli.run(&["org", "smtp", "test"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    let examples = root().join("examples");
    for (kind, file) in [("customers", "customers.csv"), ("activity", "activity.csv")] {
        let path = examples.join(file).display().to_string();
        let rejects = cli.path(&format!("{kind}.rejects.csv")).display().to_string();
        let _ = cli.run(&[kind, "import", &path, "--rejects", &rejects]).ok();
    }
    cli.credit(10_000);
    let id = cli.campaign(
        "name: Everybody\n\
         active: true\n\
         audience: { everyone: true }\n\
         schedule: now\n\
         content:\n  \
           sms: { text: \"Hi {UserName|friend}, 25 % off. {UnsubscribeUrl}\" }\n  \
           email: { subject: \"For you, {FirstName|friend}\", text: \"25 % off.\", html: \"<p>25 % off for {UserName|you}</p>\" }\n",
    );
    let _ = cli.run(&["campaign", "start", &id, "--yes"]).ok();
    let report = until_settled(cli, &id);
    let planned = report["planned"].as_u64().expect("a figure");
    providers.assert_none_twice();
    assert_eq!(providers.accepted().len() as u64, planned, "each planned one exactly once");
    let columns = ["external_id", "channel", "skipped", "parts", "state"];
    let mut rows: Vec<[String; 5]> = cli
        .detail(&id)
        .into_iter()
        .map(|row| columns.map(|column| row.get(column).cloned().unwrap_or_default()))
        .collect();
    rows.sort();
    rows
}

#[test]
fn both_ways_to_run_send_the_same_to_the_same() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let stack = Stack::start(&[("sms-dispatcher", 2), ("email-dispatcher", 2)], &[]);
    let distributed = run(&stack, &Providers::start(Duration::ZERO));
    // Links are as long as the address that they begin with.
    let server = Server::start(&[("CARILLON__PUBLIC_URL", stack.url.as_str())]);
    let embedded = run(&server, &Providers::start(Duration::ZERO));
    assert!(embedded.len() > 4_000, "{} rows", embedded.len());
    assert_eq!(embedded.len(), distributed.len());
    for (one, other) in embedded.iter().zip(&distributed) {
        assert_eq!(one, other);
    }
}
