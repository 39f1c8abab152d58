//! Trying an organisation's SMTP settings out: goes as far as a mail would, and sends none.

use std::{sync::Arc, time::Duration};

use carillon_contracts::{
    campaign::v1::{SmtpServer, TestSmtpServerResponse},
    dispatch::v1::{TestSmtpServerRequest, settings_service_server::SettingsService},
    ids::OrganisationId,
};
use carillon_sealing::WrappingKey;
use carillon_service_kit::status::invalid;
use carillon_tenancy::{SMTP_PASSWORD, open_secret};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::{
    message::header,
    smtp::{CertificateFault, Phase, Reach, Reply, Security, Silence, Target, Trouble, What},
};

/// Somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Settings {
    pub key: WrappingKey,
    pub reach: Arc<Reach>,
}

#[tonic::async_trait]
impl SettingsService for Settings {
    async fn test_smtp_server(
        &self,
        request: Request<TestSmtpServerRequest>,
    ) -> Result<Response<TestSmtpServerResponse>, Status> {
        let TestSmtpServerRequest { organisation_id, smtp, password, to } = request.into_inner();
        let organisation = OrganisationId::from_wire(&organisation_id)
            .map_err(|error| invalid("organisation_id", error.to_string()))?;
        let smtp = smtp.ok_or_else(|| invalid("smtp", "missing"))?;
        let password = password
            .map(|sealed| open_secret(&self.key, organisation, SMTP_PASSWORD, &sealed))
            .transpose()
            .map_err(|error| invalid("password", format!("{error}; set it again")))?;
        let (code, message) = self.test(&smtp, password, &to).await;
        let ok = code == "ok";
        Ok(Response::new(TestSmtpServerResponse { ok, code: code.into(), message }))
    }
}

type Finding = (&'static str, String);

impl Settings {
    async fn test(&self, smtp: &SmtpServer, password: Option<Vec<u8>>, to: &str) -> Finding {
        let no_address = |field: &str, given: &str| {
            let code = if field == "to" { "recipient_refused" } else { "sender_refused" };
            (code, format!("{field}: '{given}' is not an e-mail address; correct it"))
        };
        let Some(from) = header::address(&smtp.from) else {
            return no_address("from", &smtp.from);
        };
        if !smtp.reply_to.is_empty() && header::address(&smtp.reply_to).is_none() {
            return no_address("reply_to", &smtp.reply_to);
        }
        let recipient = header::address(to);
        if !to.is_empty() && recipient.is_none() {
            return no_address("to", to);
        }
        let target = Target::of(smtp, password);
        let tried = timeout(PATIENCE, self.attempt(&target, &from, recipient.as_deref())).await;
        let trouble = match tried {
            Ok(Ok(())) => return ("ok", fine(&target, &from)),
            Ok(Err(trouble)) => trouble,
            // A connection that is not made in time has its own, shorter limit.
            Err(_) => Trouble::new(Phase::Greeting, Silence::Timeout.into()),
        };
        finding(&trouble, &target, &from, recipient.as_deref().unwrap_or_default())
    }

    async fn attempt(&self, target: &Target, from: &str, to: Option<&str>) -> Result<(), Trouble> {
        let mut connection = self.reach.open(target).await?;
        let probed = connection.probe(from, to).await;
        tokio::spawn(connection.close());
        match probed {
            // Putting a stranger off for some minutes (greylisting) is no fault of the settings.
            Err(Trouble { phase: Phase::Recipient, what: What::Refused(reply) })
                if !reply.is_permanent() =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

fn fine(target: &Target, from: &str) -> String {
    let how = match target.security {
        Security::None => "in clear text",
        Security::Starttls => "encrypted by STARTTLS",
        Security::Implicit => "encrypted from the start",
    };
    let who = if target.login.is_some() { ", took user and password" } else { "" };
    format!("{} answered {how}{who}, and takes mail from {from}", place(target))
}

fn place(target: &Target) -> String {
    format!("{}:{}", target.host, target.port)
}

/// The code and the words for a person: what was found, and what to do.
fn finding(trouble: &Trouble, target: &Target, from: &str, to: &str) -> Finding {
    let (host, at) = (&target.host, place(target));
    match &trouble.what {
        What::NameNotFound => {
            ("name_not_found", format!("host: no address is known for '{host}'; correct the name"))
        }
        What::AddressRefused(address) => (
            "address_refused",
            format!(
                "host: '{host}' is at {address}, which is not on the public Internet; name another \
                 host, or have the operator set egress.allow_private"
            ),
        ),
        What::ConnectionRefused => (
            "connection_refused",
            format!("nothing answers at {at}; correct host and port, or open the firewall"),
        ),
        What::StarttlsMissing | What::TlsFailed | What::TlsVersion => tls(&trouble.what, &at),
        What::Certificate(fault) => certificate(*fault, &at, host),
        What::AuthUnsupported => (
            "authentication_unsupported",
            format!(
                "user: {at} offers neither AUTH PLAIN nor AUTH LOGIN; leave user and password \
                 empty, or use the port for authenticated mail (587)"
            ),
        ),
        What::Utf8Unsupported => (
            "sender_refused",
            format!("from: {at} does not take addresses beyond ASCII; use another than {from}"),
        ),
        What::Silence(silence) => silent(*silence, trouble.phase, &at),
        What::Refused(reply) => refused(trouble.phase, reply, target, (from, to)),
    }
}

fn tls(what: &What, at: &str) -> Finding {
    match what {
        What::StarttlsMissing => (
            "starttls_missing",
            format!(
                "{at} offers no STARTTLS; use the port that does (587 with most providers), or \
                 tls implicit on port 465"
            ),
        ),
        What::TlsVersion => (
            "tls_version",
            format!(
                "{at} speaks no TLS version that is taken here, which are 1.2 and 1.3; have its \
                 operator allow one of them, or name another host"
            ),
        ),
        _ => (
            "tls_failed",
            format!(
                "{at} did not speak TLS as it should; port 465 wants tls implicit, ports 25 and \
                 587 want tls starttls"
            ),
        ),
    }
}

fn certificate(fault: CertificateFault, at: &str, host: &str) -> Finding {
    match fault {
        CertificateFault::Expired => (
            "certificate_expired",
            format!("the certificate of {at} has expired; have its operator renew it"),
        ),
        CertificateFault::NotYet(from) => (
            "certificate_not_yet_valid",
            format!(
                "the certificate of {at} is not valid yet{}; have its operator install one that \
                 is, or set the clock here right",
                from.map(|from| format!(", but only from {from} on")).unwrap_or_default()
            ),
        ),
        CertificateFault::Name => (
            "certificate_name",
            format!(
                "the certificate of {at} is for another name than '{host}'; set host to the name \
                 that the certificate is for"
            ),
        ),
        CertificateFault::Issuer => (
            "certificate_issuer",
            format!(
                "the certificate of {at} is signed by nobody that is trusted here; have its \
                 operator install one of a public authority, or have Carillon's operator add the \
                 authority to email_dispatcher.tls_roots"
            ),
        ),
        CertificateFault::Invalid => (
            "certificate_invalid",
            format!("the certificate of {at} is not valid; have its operator replace it"),
        ),
    }
}

fn silent(silence: Silence, phase: Phase, at: &str) -> Finding {
    match (silence, phase) {
        (Silence::Timeout, Phase::Connect) => (
            "timeout",
            format!("{at} did not answer in time; correct host and port, or open the firewall"),
        ),
        (Silence::Timeout, _) => (
            "timeout",
            format!(
                "{at} took the connection but did not answer in time; if the port is 465, set tls \
                 implicit"
            ),
        ),
        (Silence::Lost, _) => (
            "protocol",
            format!("{at} closed the connection; if it is meant for TLS, set tls implicit"),
        ),
        (Silence::Garbled, _) => (
            "protocol",
            format!("{at} did not answer as a mail server does; correct host and port"),
        ),
    }
}

fn refused(phase: Phase, reply: &Reply, target: &Target, (from, to): (&str, &str)) -> Finding {
    let (at, codes) = (place(target), reply.codes());
    match phase {
        Phase::Auth => (
            "authentication_refused",
            format!("{at} answered {codes} to user and password; correct them"),
        ),
        Phase::Sender | Phase::Recipient if reply.code == 530 => (
            "authentication_refused",
            format!("{at} answered {codes}: it wants user and password, or TLS; set them"),
        ),
        Phase::Sender => (
            "sender_refused",
            format!("from: {at} answered {codes} to {from}; use an address that it may send from"),
        ),
        Phase::Recipient => (
            "recipient_refused",
            format!(
                "to: {at} takes mail from {from}, but answered {codes} to {to}; try a recipient \
                 that exists, or have the server allow this sender to send to others, by user and \
                 password or by address"
            ),
        ),
        Phase::Starttls => (
            "starttls_unavailable",
            format!(
                "{at} offers STARTTLS but answered {codes} to it; have its operator mend its TLS, \
                 try again later, or use tls implicit on port 465"
            ),
        ),
        _ => (
            "protocol",
            format!("{at} answered {codes} before anything was sent; ask its operator why"),
        ),
    }
}

#[cfg(test)]
mod tests;
