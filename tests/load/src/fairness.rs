//! How long a fast organisation takes alone, and beside one whose server takes a second a mail and
//! one that is throttled.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Cli, Providers, Stack, customers};

use crate::{EMAIL, settle};

const SLOW: Duration = Duration::from_secs(1);
/// X = 5 mails, then a pause of Y = 2 s; Z = 0.1 s between two.
const THROTTLE: [&str; 6] =
    ["--throttle-mails", "5", "--throttle-pause", "2s", "--throttle-gap", "100ms"];

pub(crate) fn measure(stack: &Stack, recipients: usize) -> Result<(), Box<dyn Error>> {
    let (fast, again) = (Providers::start(Duration::ZERO), Providers::start(Duration::ZERO));
    let (slow, throttled) = (Providers::start(SLOW), Providers::start(Duration::ZERO));
    let alone = Organisation::new(stack, &fast, recipients, &[]);
    let beside = Organisation::new(stack, &again, recipients, &[]);
    let slowed = Organisation::new(stack, &slow, recipients, &[]);
    let held_back = Organisation::new(stack, &throttled, recipients, &THROTTLE);

    let took_alone = alone.send()?;
    slowed.start();
    held_back.start();
    thread::sleep(Duration::from_secs(3));
    let took_beside = beside.send()?;
    println!("{recipients} e-mails of one organisation");
    println!("{:<44} {:>9.1} s", "  alone", took_alone.as_secs_f64());
    println!("{:<44} {:>9.1} s", "  beside a slow and a throttled one", took_beside.as_secs_f64());
    let ratio = took_beside.as_secs_f64() / took_alone.as_secs_f64();
    println!("{:<44} {ratio:>10.2}", "of its time alone");
    let begun = throttled.smtp.begun();
    let closest = begun.windows(6).map(|six| six[5] - six[0]).min().unwrap_or_default();
    println!(
        "{:<44} {:>9.2} s\n",
        "six throttled mails at the server, at the least",
        closest.as_secs_f64()
    );
    Ok(())
}

struct Organisation {
    cli: Cli,
    campaign: String,
}

impl Organisation {
    fn new(stack: &Stack, providers: &Providers, size: usize, smtp: &[&str]) -> Self {
        let cli = Cli::of(&stack.url, &stack.new_organisation("One of four", &[]));
        providers.set_for(&cli, smtp);
        let file = cli.write("customers.csv", customers::csv(size));
        let _ = cli.run(&["customers", "import", &file]).ok();
        let campaign = cli.campaign(&format!(
            "name: Fair\nactive: true\naudience: {{ everyone: true }}\nschedule: now\n{EMAIL}"
        ));
        Self { cli, campaign }
    }

    fn start(&self) {
        let _ = self.cli.run(&["campaign", "start", &self.campaign, "--yes"]).ok();
    }

    fn send(&self) -> Result<Duration, Box<dyn Error>> {
        let begun = Instant::now();
        self.start();
        let report = settle(&self.cli, &self.campaign);
        match report["states"]["failed"].as_u64() {
            None | Some(0) => Ok(begun.elapsed()),
            Some(_) => Err(format!("not all were sent: {report}").into()),
        }
    }
}
