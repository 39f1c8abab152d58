//! The sandbox as a provider: keeps messages where a person can look at them.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_content::sms::Encoding;
use carillon_dispatch::{
    Outcome,
    sandbox::{Accepted, Called, Sandbox},
};

use super::provider::{Provider, Sms};

pub(crate) struct SandboxGateway(pub Arc<Sandbox>);

#[async_trait]
impl Provider for SandboxGateway {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    async fn send(&self, sms: &Sms<'_>) -> Outcome {
        let outgoing = sms.outgoing;
        let line = Accepted {
            message_id: outgoing.message.to_string(),
            organisation_id: outgoing.organisation.to_string(),
            at: sms.clock.now().to_string(),
            to: outgoing.recipient.address(),
            text: Some(sms.text),
            encoding: Some(match sms.count.encoding {
                Encoding::Gsm7 => "GSM-7",
                Encoding::Ucs2 => "UCS-2",
            }),
            parts: Some(sms.count.parts),
            subject: None,
            source: None,
        };
        let called = Called {
            organisation: outgoing.organisation,
            run_day: outgoing.run_day,
            message: outgoing.message,
            attempt: outgoing.attempt,
        };
        self.0.call(called, line, None, &outgoing.clearance).await
    }
}

/// Takes everything and keeps nothing: for messages of a test key, where there is no sandbox.
pub(crate) struct Nowhere;

#[async_trait]
impl Provider for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    async fn send(&self, sms: &Sms<'_>) -> Outcome {
        Outcome::Sent { provider_id: sms.outgoing.message.to_string(), parts: None }
    }
}
