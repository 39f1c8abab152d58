//! Where providers are told to send their receipts.

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_sealing::{CallbackMac, WrappingKey};

/// The path below which all callbacks of this service stand.
pub(crate) const PATH: &str = "/callbacks/sms";

/// What a path says next: who calls back.
pub(crate) const TWILIO: &str = "twilio";
pub(crate) const HTTP: &str = "http";

/// The message that a callback is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct About {
    pub organisation: OrganisationId,
    pub run_day: i32,
    pub message: MessageId,
}

/// Makes the URLs of callbacks, and knows its own.
#[derive(Clone)]
pub(crate) struct Receipts {
    base: String,
    mac: CallbackMac,
}

impl Receipts {
    pub(crate) fn new(public_url: &str, key: &WrappingKey) -> Self {
        let base = format!("{}{PATH}", public_url.trim_end_matches('/'));
        Self { base, mac: CallbackMac::new(key) }
    }

    /// The provider also signs what it posts there.
    pub(crate) fn twilio_url(&self, about: About) -> String {
        self.url(TWILIO, about)
    }

    pub(crate) fn http_url(&self, about: About) -> String {
        self.url(HTTP, about)
    }

    /// Whoever has this URL had it from Carillon.
    fn url(&self, kind: &str, about: About) -> String {
        let About { organisation, run_day, message } = about;
        let token = self.mac.token(kind, organisation.uuid(), run_day, message.uuid());
        format!("{}/{kind}/{organisation}/{run_day}/{message}?token={token}", self.base)
    }

    pub(crate) fn is_genuine(&self, kind: &str, about: About, token: &str) -> bool {
        let About { organisation, run_day, message } = about;
        self.mac.is_token(kind, organisation.uuid(), run_day, message.uuid(), token)
    }
}
