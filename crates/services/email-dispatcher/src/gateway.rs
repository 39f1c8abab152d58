//! E-mail behind the gateway port.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Channel, Content},
};
use carillon_dispatch::{
    Account, Gateway, Outcome, Outgoing, Recipient,
    sandbox::{Accepted, Sandbox},
};
use carillon_service_kit::Clock;
use carillon_tenancy::Tenancy;

use crate::message::Texts;

pub(crate) struct EmailGateway {
    pub sandbox: Sandbox,
    pub clock: Clock,
    pub senders: Senders,
}

/// A change of the name holds within this time.
const NAME_FRESH: Duration = Duration::from_secs(30);

/// The names that organisations send under.
pub(crate) struct Senders {
    tenancy: Tenancy,
    names: Mutex<HashMap<OrganisationId, (Instant, Arc<str>)>>,
}

impl Senders {
    pub(crate) fn new(tenancy: Tenancy) -> Self {
        Self { tenancy, names: Mutex::default() }
    }

    async fn name(&self, organisation: OrganisationId) -> Option<Arc<str>> {
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, name)) = names().get(&organisation)
            && read.elapsed() < NAME_FRESH
        {
            return Some(Arc::clone(name));
        }
        let name: Arc<str> = self.tenancy.organisation(organisation).await.ok()??.name.into();
        names().insert(organisation, (Instant::now(), Arc::clone(&name)));
        Some(name)
    }
}

#[async_trait]
impl Gateway for EmailGateway {
    type Prepared = Texts;

    fn channel(&self) -> Channel {
        Channel::Email
    }

    async fn account(&self, _: OrganisationId) -> Account {
        Account::unlimited("sandbox")
    }

    fn prepare(&self, content: &Content) -> Result<Texts, String> {
        Texts::of(content)
    }

    fn units(&self, _: &Texts, _: Recipient<'_>) -> u32 {
        1
    }

    async fn send(&self, texts: &Texts, outgoing: Outgoing<'_>) -> Outcome {
        let Some(sender) = self.senders.name(outgoing.organisation).await else {
            return Outcome::Transient { code: "organisation_unknown".into(), retry_after: None };
        };
        let now = self.clock.now();
        let subject = texts.subject_for(outgoing.recipient);
        let source = texts.source(
            &sender,
            outgoing.recipient,
            &subject,
            outgoing.message,
            outgoing.run_day,
            SystemTime::from(now),
        );
        let source = match source {
            Ok(source) => source,
            Err(code) => return Outcome::Permanent { reason: "message_invalid", code },
        };
        let line = Accepted {
            message_id: outgoing.message.to_string(),
            organisation_id: outgoing.organisation.to_string(),
            at: now.to_string(),
            to: outgoing.recipient.address(),
            text: None,
            encoding: None,
            parts: None,
            subject: Some(&subject),
            source: None,
        };
        self.sandbox.call(outgoing.message, outgoing.attempt, line, Some(&source)).await
    }
}
