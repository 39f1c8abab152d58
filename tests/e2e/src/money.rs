//! What holds of credits, whichever way Carillon runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value as Json;

use crate::{Cli, Providers, customers};

/// Long: machines are busy.
const PATIENCE: Duration = Duration::from_secs(300);
/// Waiting batches ask again once a minute anyway. What is done sooner was told of.
const TOLD: Duration = Duration::from_secs(30);
/// What a new credit pays for.
const SENT_WITHIN: Duration = Duration::from_secs(5);

/// Stores a campaign by SMS to all customers; answers its id.
pub fn sms_campaign(cli: &Cli, text: &str, pending: &str) -> String {
    cli.campaign(&format!(
        "name: By SMS\nactive: true\naudience: {{ everyone: true }}\nschedule: now\n\
         pending_period: {pending}\ncontent: {{ sms: {{ text: \"{text}\" }} }}\n"
    ))
}

/// Imports so many customers, for campaigns to all of them.
fn import(cli: &Cli, count: usize) {
    let file = cli.write("customers.csv", customers::csv(count));
    let _ = cli.run(&["customers", "import", &file]).ok();
}

/// How many of the campaigns' messages are sent, wait for credits, and are expired.
fn figures(cli: &Cli, campaigns: &[&str]) -> (u64, u64, u64) {
    let figure = |value: &Json| value.as_u64().unwrap_or_default();
    campaigns.iter().fold((0, 0, 0), |(sent, waiting, expired), campaign| {
        let report = cli.report(campaign);
        let (states, waits) = (&report["states"], &report["waiting"]["insufficient_balance"]);
        (
            sent + figure(&states["sent"]),
            waiting + figure(waits),
            expired + figure(&states["expired"]),
        )
    })
}

/// Asks until so many of the campaigns' messages are sent, wait for credits, and are expired.
/// Answers how long that took.
///
/// # Panics
/// If it does not come to that within the time.
pub fn until_figures(
    cli: &Cli,
    campaigns: &[&str],
    expected: (u64, u64, u64),
    within: Duration,
) -> Duration {
    let what = format!("{expected:?} sent, waiting and expired");
    until(cli, campaigns, &what, within, |figures| figures == expected)
}

/// The same, of figures that satisfy a condition.
fn until(
    cli: &Cli,
    campaigns: &[&str],
    what: &str,
    within: Duration,
    condition: impl Fn((u64, u64, u64)) -> bool,
) -> Duration {
    let begun = Instant::now();
    loop {
        let figures = figures(cli, campaigns);
        let took = begun.elapsed();
        if condition(figures) {
            return took;
        }
        assert!(took < within, "never {what}: {figures:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asks until so many credits are available and so many held.
fn until_balance(cli: &Cli, available: u64, held: u64) {
    let begun = Instant::now();
    loop {
        let balance = cli.balance();
        assert_adds_up(&balance);
        if (&balance["available"], &balance["held"]) == (&available.into(), &held.into()) {
            return;
        }
        assert!(begun.elapsed() < TOLD, "never {available} and {held} held: {balance}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// # Panics
/// If the figures do not add up, or one is below zero.
pub fn assert_adds_up(balance: &Json) {
    let figure = |name: &str| balance[name].as_i64().expect("a figure");
    let (available, held, spent) = (figure("available"), figure("held"), figure("spent"));
    assert!(available >= 0 && held >= 0 && spent >= 0, "{balance}");
    assert_eq!(available + held + spent, figure("credited"), "{balance}");
}

/// Line by line, each is the one before it, moved; the last is the account.
///
/// # Panics
/// If it is not.
pub fn assert_statement_adds_up(cli: &Cli) {
    let statement = cli.run(&["balance", "statement", "-o", "json"]).ok().json();
    let mut places: [(&str, i64); 4] =
        [("purchased", 0), ("available", 0), ("held", 0), ("spent", 0)];
    for line in statement.as_array().expect("lines") {
        for (place, sign) in [("source", -1), ("target", 1)] {
            let name = line[place].as_str().expect("a place");
            let place = places.iter_mut().find(|(known, _)| *known == name).expect("a known place");
            place.1 += sign * line["amount"].as_i64().expect("an amount");
        }
        for (name, stands) in &places[1..] {
            assert_eq!(line[name], *stands, "{line}");
        }
    }
    let balance = cli.balance();
    for (name, stands) in &places[1..] {
        assert_eq!(balance[name], *stands, "{balance}");
    }
}

/// Asks until the audit has these acts, whichever service they were done in, each by the same key; and
/// it is whole.
///
/// # Panics
/// If it never has them, or others.
pub fn until_audited(cli: &Cli, expected: &[&str]) {
    let begun = Instant::now();
    loop {
        let audit = cli.run(&["org", "audit", "-o", "json"]).ok().json();
        let entries = audit.as_array().expect("entries");
        let mut acts: Vec<&str> =
            entries.iter().filter_map(|entry| entry["act"].as_str()).collect();
        // Gateways are set where the test has some.
        acts.retain(|act| !act.ends_with("_set"));
        acts.sort_unstable();
        if acts == expected {
            let own = entries.iter().filter(|entry| entry["act"] != "organisation.created");
            let keys: BTreeSet<&str> = own.filter_map(|entry| entry["key_id"].as_str()).collect();
            assert_eq!(keys.len(), 1, "{audit}");
            let whole = cli.run(&["org", "audit", "--verify", "-o", "json"]).ok().json();
            assert_eq!(
                (&whole["entries"], &whole["hash"]),
                (&entries.len().into(), &entries[0]["hash"])
            );
            return;
        }
        assert!(begun.elapsed() < TOLD, "never {expected:?}: {audit}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// 100 credits, 300 recipients of one part; 150 more; the deadline. Another organisation meanwhile.
///
/// # Panics
/// If anything else comes of it.
pub fn short_of_credits(cli: &Cli, other: &Cli, providers: &Providers) {
    let one_part = "Hi {UserName|friend}, 25 % off today.";
    import(cli, 300);
    import(other, 300);
    cli.credit(100);
    other.credit(600);
    let id = sms_campaign(cli, one_part, "90s");
    let (alone, meanwhile) =
        (sms_campaign(other, one_part, "90s"), sms_campaign(other, one_part, "90s"));
    let start = |cli: &Cli, id: &str| {
        let _ = cli.run(&["campaign", "start", id, "--yes"]).ok();
    };
    start(other, &alone);
    let alone = until_figures(other, &[&alone], (300, 0, 0), PATIENCE);
    start(cli, &id);
    start(other, &meanwhile);
    let meanwhile = until_figures(other, &[&meanwhile], (300, 0, 0), PATIENCE);
    println!("another organisation's 300 took {alone:.1?} alone, {meanwhile:.1?} beside the first");
    assert!(meanwhile <= 3 * alone + Duration::from_secs(2), "it was delayed");
    until_figures(cli, &[&id], (100, 200, 0), PATIENCE);
    let _ = cli.run(&["balance", "credit", "150", "--request-id", "second"]).ok();
    let took = until_figures(cli, &[&id], (250, 50, 0), SENT_WITHIN);
    println!("150 more were sent {took:.1?} after their credit");
    until_figures(cli, &[&id], (250, 0, 50), PATIENCE);
    assert_eq!(providers.sms.total(), 850);
    providers.assert_none_twice();
    let balance = cli.balance();
    assert_adds_up(&balance);
    assert_eq!((&balance["spent"], &balance["held"]), (&250.into(), &0.into()), "{balance}");
    assert_statement_adds_up(cli);
}

/// Three parts a message, and credits that are no multiple of three; two campaigns of two batches
/// each want far more than there is.
///
/// # Panics
/// If a credit is lost on the way, lies where no message can use it, or one is spent too much.
pub fn three_parts_at_the_edge(cli: &Cli) {
    let text = "Three parts. ".repeat(25);
    assert!((307..=459).contains(&text.len()));
    let _ = cli.run(&["org", "set", "low_balance", "50"]).ok();
    import(cli, 600);
    cli.credit(100);
    let ids = [sms_campaign(cli, &text, "120s"), sms_campaign(cli, &text, "120s")];
    let both = [ids[0].as_str(), ids[1].as_str()];
    for id in both {
        let _ = cli.run(&["campaign", "start", id, "--yes"]).ok();
    }
    // Which batches wait for money, and which behind them for a place, is not said.
    let until_sent = |count: u64, within| {
        let what = format!("{count} sent and others waiting");
        until(cli, &both, &what, within, |(sent, waiting, expired)| {
            (sent, expired) == (count, 0) && waiting > 0
        })
    };
    until_sent(33, PATIENCE);
    until_balance(cli, 1, 0);
    assert_eq!(cli.balance()["low"], true);
    let alerts = cli.run(&["org", "alerts", "-o", "json"]).ok().json();
    assert_eq!(alerts[0]["kind"], "balance_low", "{alerts}");
    // With the one that is left they pay for one message, whichever batch asks first.
    let _ = cli.run(&["balance", "credit", "2", "--request-id", "two more"]).ok();
    let took = until_sent(34, TOLD);
    println!("a message of three parts was sent {took:.1?} after its last two credits");
    until_balance(cli, 0, 0);
    let _ = cli.run(&["balance", "credit", "10", "--request-id", "ten more"]).ok();
    until_sent(37, TOLD);
    until_balance(cli, 1, 0);
    until_figures(cli, &both, (37, 0, 1_163), PATIENCE);
    until_balance(cli, 1, 0);
    assert_eq!(cli.balance()["spent"], 111);
    assert_every_credit_is_named(cli, &both, 111);
    assert_statement_adds_up(cli);
    until_audited(
        cli,
        &[
            "balance.credited",
            "balance.credited",
            "balance.credited",
            "campaign.created",
            "campaign.created",
            "campaign.started",
            "campaign.started",
            "customers.imported",
            "customers.imported",
            "organisation.created",
            "organisation.updated",
        ],
    );
}

/// With a test key, and no credits: by SMS and by e-mail, in a campaign and a test send.
///
/// # Panics
/// If a provider is asked for anything, or a credit is.
pub fn by_a_test_key(cli: &Cli, providers: &Providers) {
    let made = cli.run(&["keys", "create", "--test", "-o", "json"]).ok().json();
    let key = made["api_key"].as_str().expect("a key");
    let file = cli.write("customers.csv", customers::csv(100));
    let _ = cli.run(&["customers", "import", &file]).ok();
    let id = cli.campaign(
        "name: A try\nactive: true\naudience: { everyone: true }\nschedule: now\ncontent:\n  \
         sms: { text: Hi }\n  email: { subject: Hi, text: Hi }\n",
    );
    let sent = ["campaign", "test", &id, "--customer", "C000000", "-o", "json"];
    let test = cli.run_as(key, &sent).ok().json();
    let _ = cli.run_as(key, &["campaign", "start", &id, "--yes"]).ok();
    let test = test["campaign"].as_str().expect("an id");
    let begun = Instant::now();
    for (campaign, most) in [(id.as_str(), 200), (test, 2)] {
        loop {
            let report = cli.report(campaign);
            assert_eq!(report["test"], true, "{report}");
            let sent = report["states"]["sent"].as_u64().unwrap_or_default();
            if report["plan_complete"] == true && report["in_flight"] == 0 {
                assert_eq!((report["planned"].as_u64(), sent), (Some(most), most), "{report}");
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "not settled: {report}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(providers.total(), 0, "nothing left");
    let balance = cli.balance();
    assert_eq!((&balance["spent"], &balance["held"]), (&0.into(), &0.into()), "{balance}");
}

/// What each batch spent, message by message; all batches together spent as much as is given.
///
/// # Panics
/// If a batch spent other than its messages cost, by its own list or by the campaigns' reports.
fn assert_every_credit_is_named(cli: &Cli, campaigns: &[&str], spent: u64) {
    let mut reported: BTreeMap<String, u64> = BTreeMap::new();
    for row in campaigns.iter().flat_map(|campaign| cli.detail(campaign)) {
        let credits = row["credits"].parse::<u64>().expect("a count");
        *reported.entry(row["batch"].clone()).or_default() += credits;
    }
    let holds = cli.run(&["balance", "holds", "--all", "-o", "json"]).ok().json();
    let mut all = 0;
    for hold in holds.as_array().expect("holds") {
        let batch = hold["batch"].as_str().expect("an id");
        let list = cli.run(&["balance", "spent", batch, "-o", "json"]).ok().json();
        let list = list.as_array().expect("messages");
        let credits: u64 = list.iter().filter_map(|message| message["credits"].as_u64()).sum();
        assert_eq!(hold["spent"], credits, "{hold}");
        assert_eq!(reported.get(batch), Some(&credits), "{hold}");
        all += credits;
    }
    assert_eq!(all, spent, "{holds}");
}

/// 20 campaigns to 1,000 customers each, at once, on 10,000 credits; `disturb` is called again and
/// again while they run, and told how many were accepted.
///
/// # Panics
/// If other than 10,000 are accepted, or a read of the balance does not add up.
pub fn oversubscribed<C: AsRef<Cli>>(
    server: &mut C,
    reads: u64,
    providers: &Providers,
    mut disturb: impl FnMut(&mut C, u64),
) -> Vec<String> {
    let cli = Cli::of(&server.as_ref().url, &server.as_ref().key);
    providers.set_idempotent_sms_for(&cli);
    import(&cli, 1_000);
    cli.credit(10_000);
    let campaigns: Vec<String> = (0..20)
        .map(|number| {
            cli.campaign(&format!(
                "name: Number {number}\nactive: true\naudience: {{ everyone: true }}\n\
                 schedule: now\ncontent: {{ sms: {{ text: \"Hi {{UserName|friend}}\" }} }}\n"
            ))
        })
        .collect();
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    // A server that was killed may come back at another address.
    let address = Mutex::new(cli.url.clone());
    let key = cli.key.clone();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) || done.load(Ordering::Relaxed) < reads {
                let url = address.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let read = Cli::of(&url, &key).run(&["balance", "show", "-o", "json"]);
                // Billing may just have been killed; what it says is right all the same.
                if read.code == 0 {
                    assert_adds_up(&read.json());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for id in &campaigns {
            let _ = cli.run(&["campaign", "start", id, "--yes"]).ok();
        }
        let begun = Instant::now();
        while providers.sms.total() < 10_000 {
            assert!(begun.elapsed() < 2 * PATIENCE, "{} accepted", providers.sms.total());
            assert!(!reading.is_finished(), "a read failed");
            disturb(server, providers.sms.total());
            address.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&server.as_ref().url);
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{} reads added up", done.load(Ordering::Relaxed));
    let cli = Cli::of(&server.as_ref().url, &key);
    let begun = Instant::now();
    while cli.balance()["held"] != 0 || cli.balance()["spent"] != 10_000 {
        assert!(begun.elapsed() < PATIENCE, "not settled: {}", cli.balance());
        thread::sleep(Duration::from_millis(100));
    }
    for id in &campaigns {
        let _ = cli.run(&["campaign", "cancel", id]);
    }
    thread::sleep(Duration::from_secs(2));
    assert_eq!(providers.sms.total(), 10_000, "exactly as many as were paid for");
    providers.assert_none_twice();
    let balance = cli.balance();
    assert_eq!((&balance["held"], &balance["available"]), (&0.into(), &0.into()), "{balance}");
    assert_statement_adds_up(&cli);
    campaigns
}
