//! How fast Carillon sends, end to end, as a ratio to what the same machine does in the same minute
//! without it: smtp-source into the same smtp-sink, h2load into the same SMS provider.

mod fairness;
mod raw;
mod usage;

use std::{
    error::Error,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use carillon_e2e::{Cli, Stack, customers, stack::SERVICES};
use carillon_sinks::sms::{Options, SmsSink};
use clap::Parser;
use usage::Usage;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "bench";
const EMAIL: &str = "content:\n  email: { subject: \"For you, {FirstName}\", \
                     text: \"25 % off hot drinks today, {FirstName|friend}.\" }\n";
const SMS: &str =
    "content:\n  sms: { text: \"Hi {UserName|friend}, 25 % off hot drinks today.\" }\n";

/// Sends a campaign by e-mail and one by SMS through real processes, PostgreSQL and RabbitMQ, and
/// compares each with the raw limit. PostgreSQL and RabbitMQ are found by DATABASE_URL and AMQP_URL.
#[derive(Parser)]
#[command(after_help = "Example: make bench RECIPIENTS=50000")]
struct Arguments {
    /// Recipients of each campaign.
    #[arg(long, default_value_t = 50_000)]
    recipients: usize,
    /// Replicas of each dispatcher.
    #[arg(long, default_value_t = 1)]
    dispatchers: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let replicas = arguments.dispatchers;
    let stack = Stack::start(
        &[("email-dispatcher", replicas), ("sms-dispatcher", replicas)],
        &[("CARILLON__LOG__FILTER", "warn")],
    );
    let runtime = tokio::runtime::Runtime::new()?;
    let login = Some((ACCOUNT.to_owned(), TOKEN.to_owned()));
    let options = Options { login, counts_only: true, ..Options::default() };
    let sms = runtime.block_on(SmsSink::start(options))?;
    let smtp = SmtpSinkProcess::start()?;
    set_up(&stack, &smtp, &sms, arguments.recipients)?;

    println!("{} recipients, {replicas} of each dispatcher\n", arguments.recipients);
    println!("{:<44} {:>10}", "", "messages/s");
    let raw = raw::smtp(&smtp.address, arguments.recipients)?;
    line("raw SMTP: smtp-source -d -s 16 → smtp-sink", raw);
    let email = campaign(&stack, EMAIL, arguments.recipients)?;
    line("e-mail, campaign → report, same smtp-sink", email.rate);
    email.explain(raw);
    let raw = raw::http(&sms.url(), ACCOUNT, TOKEN, arguments.recipients)?;
    line("raw HTTP: h2load --h1 -c 32 → SMS provider", raw);
    let sent = campaign(&stack, SMS, arguments.recipients)?;
    line("SMS, campaign → report, same provider", sent.rate);
    sent.explain(raw);
    fairness::measure(&stack, arguments.recipients / 5)?;
    println!("peak memory, MiB");
    for service in SERVICES {
        println!("  {service:<20} {:>6}", stack.peak_memory(service, 1).unwrap_or_default() / 1024);
    }
    Ok(())
}

fn line(what: &str, rate: f64) {
    println!("{what:<44} {rate:>10.0}");
}

fn set_up(
    stack: &Stack,
    smtp: &SmtpSinkProcess,
    sms: &SmsSink,
    recipients: usize,
) -> Result<(), Box<dyn Error>> {
    let (host, port) = smtp.address.rsplit_once(':').ok_or("an address")?;
    let smtp = ["org", "smtp", "--host", host, "--port", port, "--tls", "none"];
    let _ = stack.run(&[&smtp[..], &["--from", "news@cafe.example.org"]].concat()).ok();
    let token = stack.write("token", TOKEN);
    let url = sms.url();
    let sms = ["org", "sms", "--kind", "twilio", "--base-url", &url, "--account", ACCOUNT];
    let _ = stack.run(&[&sms[..], &["--token-file", &token, "--from", "+15550100"]].concat()).ok();
    let file = stack.write("customers.csv", customers::csv(recipients));
    let _ = stack.run(&["customers", "import", &file]).ok();
    stack.credit(recipients as u64 * 2);
    Ok(())
}

struct Measured {
    /// Messages per second.
    rate: f64,
    /// Microseconds of processor time a message, by program.
    spent: Vec<(String, f64)>,
}

impl Measured {
    fn explain(&self, raw: f64) {
        println!("{:<44} {:>10.2}\n", "of the raw limit", self.rate / raw);
        println!("{:<44} {:>10}", "processor time by program", "µs/message");
        for (program, spent) in self.spent.iter().filter(|(_, spent)| *spent >= 0.5) {
            println!("  {program:<42} {spent:>10.0}");
        }
        println!();
    }
}

/// Messages per second from the start's answer until the last is settled.
fn campaign(stack: &Stack, content: &str, recipients: usize) -> Result<Measured, Box<dyn Error>> {
    let id = stack.campaign(&format!(
        "name: Bench\nactive: true\naudience: {{ everyone: true }}\nschedule: now\n{content}"
    ));
    let before = Usage::now();
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    let begun = Instant::now();
    let report = settle(stack, &id);
    let took = begun.elapsed().as_secs_f64();
    if report["states"]["sent"] != recipients {
        return Err(format!("not all were sent: {report}").into());
    }
    let spent = Usage::now().a_message_since(&before, recipients);
    Ok(Measured { rate: recipients as f64 / took, spent })
}

/// Waits for the last message; answers the report then.
fn settle(cli: &Cli, campaign: &str) -> serde_json::Value {
    loop {
        let report = cli.report(campaign);
        if report["plan_complete"] == true && report["in_flight"] == 0 {
            return report;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Postfix's smtp-sink: it takes everything and keeps nothing.
struct SmtpSinkProcess {
    child: Child,
    address: String,
}

impl SmtpSinkProcess {
    fn start() -> Result<Self, Box<dyn Error>> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let sink = raw::tool("smtp-sink");
        let user: &[&str] = if raw::is_root() { &["-u", "nobody"] } else { &[] };
        let child = Command::new(sink)
            .args(user)
            .args([&address, "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("smtp-sink (of Debian's postfix): {error}"))?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { child, address })
    }
}

impl Drop for SmtpSinkProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
