//! Against a server on the wire.

mod faults;
mod sending;
mod stopping;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_dispatch::{Clearance, Outcome};
use carillon_service_kit::egress::{Egress, Policy};
use carillon_sinks::{Authority, Behaviour, SmtpSink};

use super::{dial::Login, *};

/// Long enough for a busy machine.
const PATIENT: Duration = Duration::from_secs(120);

pub(crate) fn limits(each: Duration) -> Limits {
    Limits { connect: each, command: each, data: each }
}

/// Trusts `authority`, and connects to this machine.
pub(crate) fn reach_within(authority: Option<&Authority>, each: Duration) -> Arc<Reach> {
    let folder = tempfile::tempdir().expect("a folder");
    let roots: Option<PathBuf> = authority.map(|authority| {
        let path = folder.path().join("roots.pem");
        std::fs::write(&path, authority.pem()).expect("written");
        path
    });
    Arc::new(Reach {
        egress: Egress::new(Policy { allow_private: true }),
        tls: tls_client(roots.as_deref()).expect("roots"),
        limits: limits(each),
        hello: None,
    })
}

pub(crate) fn reach(authority: Option<&Authority>) -> Arc<Reach> {
    reach_within(authority, PATIENT)
}

pub(crate) fn target(sink: &SmtpSink, security: Security) -> Target {
    Target { host: "127.0.0.1".into(), port: sink.port(), security, login: None }
}

fn with_login(target: Target, password: &str) -> Target {
    let login = Login { user: "shop".into(), password: password.into() };
    Target { login: Some(login), ..target }
}

fn pool(sink: &SmtpSink) -> Pool {
    Pool::new(target(sink, Security::None), reach(None), 4, 0)
}

fn cleared() -> Clearance {
    Clearance::until(Instant::now() + PATIENT)
}

fn mail(id: &str) -> Vec<u8> {
    format!("Message-ID: <{id}>\r\nSubject: s\r\n\r\nHello\r\n").into_bytes()
}

const ENVELOPE: Envelope<'_> = Envelope { from: "news@shop.example", to: "ann@example.com" };

async fn send(pool: &Pool, id: &str) -> Outcome {
    pool.send(ENVELOPE, &mail(id), &cleared()).await
}

fn sent() -> Outcome {
    Outcome::Sent { provider_id: "4bXy7Z".into(), parts: None }
}

fn transient(code: &str) -> Outcome {
    Outcome::Transient { code: code.into(), retry_after: None }
}

fn of_settings(code: &str) -> Outcome {
    Outcome::Transient { code: code.into(), retry_after: Some(SETTINGS_REST) }
}

fn permanent(reason: &'static str, code: &str) -> Outcome {
    Outcome::Permanent { reason, code: code.into() }
}

fn in_doubt(code: &str) -> Outcome {
    Outcome::InDoubt { code: code.into() }
}

async fn sink(behaviour: Behaviour) -> SmtpSink {
    SmtpSink::start(behaviour).await
}
