//! What can go wrong with a server, and what becomes of the message then.

use std::{fmt, net::IpAddr, time::Duration};

use carillon_dispatch::Outcome;
use jiff::Timestamp;

use super::wire::{Reply, Silence};

/// What an administrator must mend is not tried more often.
pub(crate) const SETTINGS_REST: Duration = Duration::from_secs(60);

/// How far it had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connect,
    Greeting,
    Hello,
    Starttls,
    Handshake,
    Auth,
    Sender,
    Recipient,
    Data,
    /// The mail, but not its end.
    Body,
    /// The final dot left, or may have.
    Dot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    Expired,
    /// From when on it is valid, where that is known.
    NotYet(Option<Timestamp>),
    Name,
    Issuer,
    Invalid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    NameNotFound,
    AddressRefused(IpAddr),
    ConnectionRefused,
    Silence(Silence),
    Refused(Reply),
    StarttlsMissing,
    Certificate(CertificateFault),
    TlsFailed,
    /// It speaks neither of those that are taken: 1.2 and 1.3.
    TlsVersion,
    AuthUnsupported,
    /// The address needs SMTPUTF8 (RFC 6531), which is not offered.
    Utf8Unsupported,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub phase: Phase,
    pub what: What,
}

impl Trouble {
    pub(crate) fn new(phase: Phase, what: What) -> Self {
        Self { phase, what }
    }

    pub(crate) fn silence(phase: Phase) -> impl Fn(Silence) -> Self {
        move |silence| Self::new(phase, What::Silence(silence))
    }

    /// A stable word, or the server's codes.
    fn code(&self) -> String {
        let word = match &self.what {
            What::NameNotFound => "name_not_found",
            What::AddressRefused(_) => "address_refused",
            What::ConnectionRefused => "connection_refused",
            What::Silence(Silence::Lost) => "connection_lost",
            What::Silence(Silence::Timeout) => "timeout",
            What::Silence(Silence::Garbled) => "protocol",
            What::StarttlsMissing => "starttls_missing",
            What::Certificate(CertificateFault::Expired) => "certificate_expired",
            What::Certificate(CertificateFault::NotYet(_)) => "certificate_not_yet_valid",
            What::Certificate(CertificateFault::Name) => "certificate_name",
            What::Certificate(CertificateFault::Issuer) => "certificate_issuer",
            What::Certificate(CertificateFault::Invalid) => "certificate_invalid",
            What::TlsFailed => "tls_failed",
            What::TlsVersion => "tls_version",
            What::AuthUnsupported => "authentication_unsupported",
            What::Utf8Unsupported => "smtputf8_missing",
            What::Refused(reply) => match self.phase {
                _ if reply.code == 530 && self.is_before_the_mail() => "authentication_refused",
                Phase::Auth if reply.is_permanent() => "authentication_refused",
                Phase::Sender if reply.is_permanent() => "sender_refused",
                _ => return reply.codes(),
            },
        };
        word.to_owned()
    }

    /// Whether it lies with the settings, on this side or the other, rather than with the message
    /// or the moment.
    pub(crate) fn is_of_settings(&self) -> bool {
        match &self.what {
            What::Silence(_) | What::ConnectionRefused | What::Utf8Unsupported => false,
            What::Refused(reply) => {
                let about_message =
                    matches!(self.phase, Phase::Recipient | Phase::Data | Phase::Body | Phase::Dot);
                reply.is_permanent() && (!about_message || self.code() == "authentication_refused")
            }
            _ => true,
        }
    }

    fn is_before_the_mail(&self) -> bool {
        !matches!(self.phase, Phase::Body | Phase::Dot)
    }

    /// Whether a connection that had lain idle was found closed, as servers do: nothing was begun.
    pub(crate) fn is_stale(&self) -> bool {
        let gone = match &self.what {
            What::Silence(silence) => *silence == Silence::Lost,
            What::Refused(reply) => reply.code == 421,
            _ => false,
        };
        self.phase == Phase::Sender && gone
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let code = self.code();
        match (&self.what, self.phase) {
            (What::Silence(_), Phase::Dot) => Outcome::InDoubt { code },
            _ if self.is_of_settings() => {
                Outcome::Transient { code, retry_after: Some(SETTINGS_REST) }
            }
            (What::Utf8Unsupported, _) => Outcome::Permanent { reason: "address_refused", code },
            (What::Refused(reply), Phase::Recipient) if reply.is_permanent() => {
                Outcome::Permanent { reason: "address_refused", code }
            }
            (What::Refused(reply), _) if reply.is_permanent() => {
                Outcome::Permanent { reason: "message_refused", code }
            }
            _ => Outcome::Transient { code, retry_after: None },
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code())
    }
}

impl From<Silence> for What {
    fn from(silence: Silence) -> Self {
        Self::Silence(silence)
    }
}
