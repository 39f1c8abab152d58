use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Cli, Providers, Stack, customers};

use crate::until_settled;

const CAMPAIGN: &str = "name: By e-mail\n\
    active: true\n\
    audience: { everyone: true }\n\
    schedule: now\n\
    content:\n  \
      email: { subject: \"For you\", text: \"25 % off today.\" }\n";

struct Organisation {
    key: String,
    campaign: String,
}

fn organisation(stack: &Stack, providers: &Providers, size: usize, smtp: &[&str]) -> Organisation {
    let key = stack.new_organisation("One of three", &[]);
    let cli = Cli::of(&stack.url, &key);
    providers.set_for(&cli, smtp);
    let file = cli.write("customers.csv", customers::csv(size));
    let _ = cli.run(&["customers", "import", &file]).ok();
    let campaign = cli.campaign(CAMPAIGN);
    Organisation { key, campaign }
}

fn start(stack: &Stack, organisation: &Organisation) -> Cli {
    let cli = Cli::of(&stack.url, &organisation.key);
    let _ = cli.run(&["campaign", "start", &organisation.campaign, "--yes"]).ok();
    cli
}

#[test]
fn a_slow_and_a_throttled_organisation_do_not_delay_a_fast_one() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    const FAST: usize = 5_000;
    let stack = Stack::start(&[("email-dispatcher", 2)], &[]);
    let (slow, throttled) =
        (Providers::start(Duration::from_secs(1)), Providers::start(Duration::ZERO));
    let (alone, beside) = (Providers::start(Duration::ZERO), Providers::start(Duration::ZERO));
    let of_alone = organisation(&stack, &alone, FAST, &[]);
    let of_beside = organisation(&stack, &beside, FAST, &[]);
    let of_slow = organisation(&stack, &slow, 3_000, &[]);
    let limits = ["--throttle-mails", "5", "--throttle-pause", "2s", "--throttle-gap", "100ms"];
    let of_throttled = organisation(&stack, &throttled, 500, &limits);

    let begun = Instant::now();
    let cli = start(&stack, &of_alone);
    let _ = until_settled(&cli, &of_alone.campaign);
    let took_alone = begun.elapsed();

    start(&stack, &of_slow);
    start(&stack, &of_throttled);
    thread::sleep(Duration::from_secs(3));
    let begun = Instant::now();
    let cli = start(&stack, &of_beside);
    let report = until_settled(&cli, &of_beside.campaign);
    let took_beside = begun.elapsed();
    assert_eq!(report["states"]["sent"], FAST, "{report}");
    println!("alone {took_alone:?}, beside a slow and a throttled one {took_beside:?}");
    assert!(slow.total() > 0 && throttled.total() > 0, "the others were sending meanwhile");
    assert!(slow.total() < 3_000 && throttled.total() < 500, "and are not done");

    thread::sleep(Duration::from_secs(5));
    assert_keeps_its_limit(&throttled.smtp.begun());
    throttled.assert_none_twice();
    beside.assert_none_twice();
}

/// 5 mails with 0.1 s between two, then a pause of 2 s: 2.4 s a series, at the server, over both
/// replicas. A busy machine may bring one mail later than it left, by less than a series.
fn assert_keeps_its_limit(begun: &[Instant]) {
    assert!(begun.len() > 10, "{} mails say nothing", begun.len());
    let closest = begun.windows(6).map(|six| six[5] - six[0]).min().expect("more than six");
    println!("{} throttled mails; six of them within {closest:?} at the least", begun.len());
    for (first, from) in begun.iter().enumerate() {
        for (series, to) in begun[first..].iter().step_by(5).enumerate().skip(2) {
            let least = Duration::from_millis(2_400) * u32::try_from(series - 1).expect("few");
            let span = *to - *from;
            assert!(span >= least, "{} mails within {span:?}", series * 5 + 1);
        }
    }
}
