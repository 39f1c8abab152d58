//! The sandbox: a provider that keeps every message where a person can look at it, and can be
//! told to refuse, delay, fail or lose a share, and to report what became of another. It knows no
//! idempotency, so a call made twice shows.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_service_kit::Stop;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{Clearance, Evidence, EvidenceInbox, Outcome, Says};

/// Receipts that are kept together, at most.
const REPORTED_AT_ONCE: usize = 500;
const REPORT_AGAIN: Duration = Duration::from_secs(1);

/// How the sandbox misbehaves. Shares go from 0 to 1 and are drawn from the message's id, so the
/// same message meets the same fate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Whether there is a sandbox for organisations without a gateway of their own. `carillon dev`
    /// has one.
    pub enabled: bool,
    /// Refused for good, as an unknown number is.
    pub refuse_share: f64,
    /// Fails in passing; another attempt may succeed.
    pub fail_share: f64,
    /// Takes `delay_ms` instead of `latency_ms`.
    pub delay_share: f64,
    pub delay_ms: u64,
    /// How long every other call takes.
    pub latency_ms: u64,
    /// Kept, and then no answer comes: nobody knows whether it was.
    pub lose_share: f64,
    /// Of what is kept a receipt comes, as a provider sends it. Those that wait are lost at a stop.
    pub receipt_share: f64,
    /// Of the receipts so many say that it could not be delivered; the others that it was.
    pub undelivered_share: f64,
    /// How long after the message its receipt comes.
    pub receipt_delay_ms: u64,
}

impl SandboxConfig {
    /// Names the first share that is not one.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("refuse_share", self.refuse_share),
            ("fail_share", self.fail_share),
            ("delay_share", self.delay_share),
            ("lose_share", self.lose_share),
            ("receipt_share", self.receipt_share),
            ("undelivered_share", self.undelivered_share),
        ];
        match shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            Some((name, share)) => {
                Err(format!("sandbox.{name}: {share} is not a share; give a number from 0 to 1"))
            }
            None => Ok(()),
        }
    }
}

/// Keeps the messages of one channel: `<channel>.jsonl`, a line for each that was accepted, and
/// the whole source of those that have one in files beside it.
pub struct Sandbox {
    config: SandboxConfig,
    sources: PathBuf,
    accepted: Mutex<File>,
    receipts: mpsc::UnboundedSender<Receipt>,
    /// Until somebody reports them.
    unreported: Mutex<Option<mpsc::UnboundedReceiver<Receipt>>>,
}

/// The message that a call is made for.
#[derive(Debug, Clone, Copy)]
pub struct Called {
    pub organisation: OrganisationId,
    pub run_day: i32,
    pub message: MessageId,
    /// Counts from 1.
    pub attempt: u32,
}

struct Receipt {
    at: Instant,
    evidence: Evidence,
}

/// A line of what was accepted.
#[derive(Serialize)]
pub struct Accepted<'a> {
    pub message_id: String,
    pub organisation_id: String,
    pub at: String,
    pub to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// The file that holds the whole source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Which message, and which attempt at it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub message: MessageId,
    pub attempt: u32,
}

impl Sandbox {
    pub fn open(folder: &Path, channel: &str, config: SandboxConfig) -> io::Result<Self> {
        let sources = folder.join(channel);
        fs::create_dir_all(&sources)?;
        let path = folder.join(format!("{channel}.jsonl"));
        let accepted = OpenOptions::new().create(true).append(true).open(path)?;
        let (receipts, unreported) = mpsc::unbounded_channel();
        let unreported = Mutex::new(Some(unreported));
        Ok(Self { config, sources, accepted: Mutex::new(accepted), receipts, unreported })
    }

    /// Brings receipts there from now on, until stopping.
    pub fn report(&self, inbox: EvidenceInbox, stop: &Stop) {
        let unreported = self.unreported.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receipts) = unreported else { return };
        let stopping = stop.clone();
        stop.spawn("sandbox receipts", async move {
            tokio::select! {
                () = report_all(receipts, inbox) => {}
                () = stopping.requested() => {}
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// One call: waits as long as it is told to, then refuses, fails, or keeps the message. Until
    /// then it can be taken back. `source` is written first, so that a line always has its file.
    pub async fn call(
        &self,
        called: Called,
        mut line: Accepted<'_>,
        source: Option<&[u8]>,
        clearance: &Clearance,
    ) -> Outcome {
        if !clearance.may_begin() {
            return Outcome::NotBegun;
        }
        let Called { message, attempt, .. } = called;
        let delayed = draw(message, "delay", 0) < self.config.delay_share;
        let wait = if delayed { self.config.delay_ms } else { self.config.latency_ms };
        if wait > 0 {
            tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
                () = clearance.broken_off(|| false) => return Outcome::NotBegun,
            }
        }
        if draw(message, "refuse", 0) < self.config.refuse_share {
            return Outcome::Permanent { reason: "refused", code: "sandbox_refused".into() };
        }
        if draw(message, "fail", attempt) < self.config.fail_share {
            return Outcome::Transient { code: "sandbox_failed".into(), retry_after: None };
        }
        if let Some(source) = source {
            match self.keep_source(message, source) {
                Ok(name) => line.source = Some(name),
                Err(error) => return unkept(&error),
            }
        }
        if let Err(error) = self.keep(&line) {
            return unkept(&error);
        }
        self.promise_receipt(called);
        if draw(message, "lose", attempt) < self.config.lose_share {
            return Outcome::InDoubt { code: "sandbox_lost".into() };
        }
        Outcome::Sent { provider_id: line.message_id, parts: None }
    }

    fn promise_receipt(&self, called: Called) {
        let Called { organisation, run_day, message, .. } = called;
        if draw(message, "receipt", 0) >= self.config.receipt_share {
            return;
        }
        let (says, code) = match draw(message, "deliver", 0) < self.config.undelivered_share {
            true => (Says::Undelivered, "sandbox_undelivered"),
            false => (Says::Delivered, ""),
        };
        let evidence =
            Evidence { organisation, run_day, message, says, provider_code: code.into() };
        let at = Instant::now() + Duration::from_millis(self.config.receipt_delay_ms);
        // Nobody hears them while stopping.
        let _ = self.receipts.send(Receipt { at, evidence });
    }

    /// One write for the whole line: a kill leaves it there or not, and a full disk no part of it.
    fn keep(&self, line: &Accepted<'_>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let length = accepted.metadata()?.len();
        accepted.write_all(&bytes).inspect_err(|_| {
            let _ = accepted.set_len(length);
        })
    }

    fn keep_source(&self, message: MessageId, source: &[u8]) -> io::Result<String> {
        let name = format!("{message}.eml");
        let path = self.sources.join(&name);
        fs::write(&path, source).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        Ok(name)
    }
}

/// All wait equally long, so the first that came is the first that is due.
async fn report_all(mut receipts: mpsc::UnboundedReceiver<Receipt>, inbox: EvidenceInbox) {
    let mut early = None;
    loop {
        let first = match early.take() {
            None => receipts.recv().await,
            early => early,
        };
        let Some(first) = first else { return };
        sleep_until(first.at).await;
        let mut evidence = vec![first.evidence];
        while evidence.len() < REPORTED_AT_ONCE {
            match receipts.try_recv() {
                Ok(next) if next.at <= Instant::now() => evidence.push(next.evidence),
                next => {
                    early = next.ok();
                    break;
                }
            }
        }
        while let Err(error) = inbox.keep(evidence.clone()).await {
            tracing::error!(%error, "the sandbox's receipts could not be stored; trying again");
            tokio::time::sleep(REPORT_AGAIN).await;
        }
    }
}

fn unkept(error: &io::Error) -> Outcome {
    tracing::error!(%error, "the sandbox could not keep a message");
    Outcome::Transient { code: "sandbox_io".into(), retry_after: None }
}

/// A number in 0..1 that follows from the message, the question and the attempt.
fn draw(message: MessageId, question: &str, attempt: u32) -> f64 {
    let mut hash = Sha256::new();
    hash.update(message.uuid().as_bytes());
    hash.update(question.as_bytes());
    hash.update(attempt.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use carillon_service_kit::Stop;
    use uuid::Uuid;

    use super::*;

    fn message(n: u128) -> MessageId {
        MessageId::new(Uuid::from_u128(n))
    }

    fn called(n: u128) -> Called {
        let organisation = OrganisationId::new(Uuid::from_u128(5));
        Called { organisation, run_day: 20_270_115, message: message(n), attempt: 1 }
    }

    fn line() -> Accepted<'static> {
        Accepted {
            message_id: "m".into(),
            organisation_id: "o".into(),
            at: "now".into(),
            to: "+15555550100",
            text: Some("hello"),
            encoding: None,
            parts: Some(1),
            subject: None,
            source: None,
        }
    }

    #[test]
    fn draws_are_repeatable_and_spread_evenly() {
        assert_eq!(draw(message(1), "fail", 1), draw(message(1), "fail", 1));
        let below = (0..2_000).filter(|n| draw(message(*n), "refuse", 0) < 0.3).count();
        assert!((500..700).contains(&below), "{below} of 2,000");
    }

    #[tokio::test]
    async fn what_is_accepted_is_kept_and_what_is_refused_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |config| Sandbox::open(folder.path(), "sms", config).expect("opened");
        let cleared = Clearance::until(Instant::now() + Duration::from_secs(120));
        let call = async |config, n, clearance: &Clearance| {
            open(config).call(called(n), line(), None, clearance).await
        };
        let kept = call(SandboxConfig::default(), 1, &cleared).await;
        assert!(matches!(kept, Outcome::Sent { .. }));
        let refuses = SandboxConfig { refuse_share: 1.0, ..SandboxConfig::default() };
        assert!(matches!(call(refuses, 2, &cleared).await, Outcome::Permanent { .. }));
        let fails = SandboxConfig { fail_share: 1.0, ..SandboxConfig::default() };
        assert!(matches!(call(fails, 3, &cleared).await, Outcome::Transient { .. }));
        let loses = SandboxConfig { lose_share: 1.0, ..SandboxConfig::default() };
        assert!(matches!(call(loses, 4, &cleared).await, Outcome::InDoubt { .. }));
        let (stop, slow) = (Stop::new(), 3_600_000);
        let delays = SandboxConfig { latency_ms: slow, ..SandboxConfig::default() };
        let cleared = cleared.within(&stop);
        let (stopped, ()) = tokio::join!(call(delays, 5, &cleared), async { stop.now() });
        assert_eq!(stopped, Outcome::NotBegun);
        let lines = fs::read_to_string(folder.path().join("sms.jsonl")).expect("the file");
        assert_eq!(lines.lines().count(), 2);
    }

    #[tokio::test]
    async fn receipts_say_what_their_shares_make_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = SandboxConfig {
            receipt_share: 0.5,
            undelivered_share: 0.25,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::open(folder.path(), "sms", config).expect("opened");
        let cleared = Clearance::until(Instant::now() + Duration::from_secs(120));
        for n in 0..1_000 {
            sandbox.call(called(n), line(), None, &cleared).await;
        }
        let mut said = sandbox.unreported.lock().expect("unpoisoned").take().expect("not yet");
        let mut counts = (0, 0);
        while let Ok(receipt) = said.try_recv() {
            match receipt.evidence.says {
                Says::Delivered => counts.0 += 1,
                _ => counts.1 += 1,
            }
        }
        assert!((300..450).contains(&counts.0) && (80..170).contains(&counts.1), "{counts:?}");
    }

    #[test]
    fn a_share_outside_0_to_1_is_named() {
        let config = SandboxConfig { fail_share: 1.5, ..SandboxConfig::default() };
        let refused = config.check().expect_err("refused");
        assert_eq!(refused, "sandbox.fail_share: 1.5 is not a share; give a number from 0 to 1");
    }
}
