//! An SMTP server and an SMS provider of the test's own, on the wire, and an organisation's settings
//! that lead to them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use carillon_sinks::{
    Behaviour, SmtpSink,
    sms::{Options, SmsSink, signature},
};
use tokio::runtime::Runtime;

use crate::Cli;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Both, as basic authentication has them (RFC 7617).
const LOGIN: &str = "QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTphLXRva2VuLW9mLXRoZS10ZXN0cw==";
const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";
const TOKEN: &str = "a-token-of-the-tests";

pub struct Providers {
    pub smtp: SmtpSink,
    pub sms: SmsSink,
    runtime: Runtime,
}

impl Providers {
    /// Both take so long before they answer.
    pub fn start(latency: Duration) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (smtp, sms) = runtime.block_on(async {
            let smtp = Behaviour { latency, keep: false, ..Behaviour::default() };
            let sms = Options {
                latency,
                idempotency_header: Some(IDEMPOTENCY_HEADER.into()),
                login: Some((ACCOUNT.into(), TOKEN.into())),
                counts_only: true,
                ..Options::default()
            };
            (SmtpSink::start(smtp).await, SmsSink::start(sms).await.expect("a free port"))
        });
        Self { smtp, sms, runtime }
    }

    /// Sets the organisation of the command's key up to send through them.
    pub fn set_for(&self, cli: &Cli, more_smtp: &[&str]) {
        self.set_smtp_for(cli, more_smtp);
        let token = cli.write("sms-token", TOKEN);
        let url = self.sms.url();
        let sms = ["org", "sms", "--kind", "twilio", "--base-url", &url, "--account", ACCOUNT];
        let _ =
            cli.run(&[&sms[..], &["--token-file", &token, "--from", "+15550100"]].concat()).ok();
    }

    pub fn set_smtp_for(&self, cli: &Cli, more: &[&str]) {
        let port = self.smtp.port().to_string();
        let from = "news@cafe.example.org";
        let smtp = ["org", "smtp", "--host", "127.0.0.1", "--port", &port, "--tls", "none"];
        let _ = cli.run(&[&smtp[..], &["--from", from], more].concat()).ok();
    }

    /// Another SMTP server, whose connections do not hold a large mail on its way. They would hold
    /// more with every mail, so that each has its own.
    pub fn set_narrow_smtp_for(&mut self, cli: &Cli) {
        let narrow = Behaviour { narrow: true, keep: false, ..Behaviour::default() };
        self.smtp = self.runtime.block_on(SmtpSink::start(narrow));
        self.set_smtp_for(cli, &["--throttle-mails", "1", "--throttle-pause", "0s"]);
    }

    /// The SMS side as a gateway that takes each message id once only, however often it is called.
    pub fn set_idempotent_sms_for(&self, cli: &Cli) {
        let url = format!("{}/send", self.sms.url());
        let token = cli.write("sms-login", LOGIN);
        let sms = ["org", "sms", "--kind", "http", "--url", &url, "--from", "Cafe"];
        let login = ["--header", "Authorization: Basic {token}", "--token-file", &token];
        let more = [&login[..], &["--idempotency-header", IDEMPOTENCY_HEADER]].concat();
        let _ = cli.run(&[&sms[..], &more].concat()).ok();
    }

    /// Of a receipt that comes from the SMS provider.
    pub fn sms_signature(&self, url: &str, form: &[(String, String)]) -> String {
        signature(TOKEN, url, form)
    }

    /// Both take so long from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.smtp.set_latency(latency);
        self.sms.set_latency(latency);
    }

    /// Out of reach, both neither take connections nor refuse them.
    pub fn set_reachable(&self, reachable: bool) {
        self.smtp.set_reachable(reachable);
        self.sms.set_reachable(reachable);
    }

    /// Messages accepted on both channels, those that came twice counted twice.
    pub fn total(&self) -> usize {
        self.smtp.count() + usize::try_from(self.sms.total()).unwrap_or(usize::MAX)
    }

    /// When the last message was accepted.
    pub fn last_accepted(&self) -> Option<Instant> {
        self.smtp.last_accepted().max(self.sms.last_taken())
    }

    /// How often each message was accepted, by the id that the report gives it.
    pub fn accepted(&self) -> BTreeMap<String, usize> {
        let mails = self.smtp.accepted().into_iter().map(|(id, times)| {
            // <run_day.message@domain>
            let id = id.trim_matches(['<', '>']);
            let id = id.split_once('.').map_or(id, |(_, rest)| rest);
            (id.split('@').next().unwrap_or(id).to_owned(), times)
        });
        let mut accepted = BTreeMap::new();
        for (id, times) in mails.chain(self.sms.taken()) {
            *accepted.entry(id).or_default() += times;
        }
        accepted
    }

    /// # Panics
    /// If a message was accepted twice.
    pub fn assert_none_twice(&self) {
        let accepted = self.accepted();
        let twice: Vec<_> = accepted.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "sent twice: {twice:?}");
    }
}
