//! E-mail behind the gateway port.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_content::Values;
use carillon_contracts::{
    ids::{CustomerId, MessageId, OrganisationId},
    jobs::v1::{Channel, Content},
};
use carillon_dispatch::{
    Account, Clearance, Gateway, Outcome, Outgoing, Recipient,
    sandbox::{Accepted, Called, Sandbox},
};
use carillon_sealing::{Linked, Links};
use carillon_service_kit::Clock;

use crate::{
    message::{Letter, Texts, Written, header},
    routes::{Route, Routes, Way},
    smtp::{Envelope, SETTINGS_REST},
};

pub(crate) struct EmailGateway {
    pub routes: Arc<Routes>,
    pub sandbox: Option<Arc<Sandbox>>,
    pub clock: Clock,
    pub links: Links,
}

/// A message on its way, apart from where its values come from.
pub(crate) struct Leaving<'a> {
    pub organisation: OrganisationId,
    pub customer: CustomerId,
    pub message: MessageId,
    pub run_day: i32,
    pub attempt: u32,
    pub address: &'a str,
    /// The name of the account that the claim was made for.
    pub account: &'a str,
    pub clearance: &'a Clearance,
}

#[async_trait]
impl Gateway for EmailGateway {
    type Prepared = Texts;

    fn channel(&self) -> Channel {
        Channel::Email
    }

    async fn account(&self, organisation: OrganisationId) -> Account {
        match self.routes.of(organisation).await {
            Some(route) => route.account.clone(),
            None => Account::unlimited("unknown"),
        }
    }

    fn prepare(&self, content: &Content) -> Result<Texts, String> {
        Texts::of(content)
    }

    fn parts(&self, _: &Texts, _: Recipient<'_>) -> u32 {
        1
    }

    async fn send(&self, texts: &Texts, outgoing: Outgoing<'_>) -> Outcome {
        let leaving = Leaving {
            organisation: outgoing.organisation,
            customer: outgoing.recipient.customer,
            message: outgoing.message,
            run_day: outgoing.run_day,
            attempt: outgoing.attempt,
            address: outgoing.recipient.address(),
            account: outgoing.account,
            clearance: &outgoing.clearance,
        };
        self.call(texts, leaving, &outgoing.recipient).await
    }
}

impl EmailGateway {
    pub(crate) async fn call<V: Values>(
        &self,
        texts: &Texts,
        leaving: Leaving<'_>,
        values: &V,
    ) -> Outcome {
        let Some(route) = self.routes.of(leaving.organisation).await else {
            return Outcome::Transient { code: "organisation_unknown".into(), retry_after: None };
        };
        // Settings changed meanwhile: it is claimed again for the account that they lead to.
        if route.account.name != leaving.account {
            return Outcome::NotBegun;
        }
        let Some(to) = header::address(leaving.address) else {
            let code = "address_invalid".into();
            return Outcome::Permanent { reason: "address_invalid", code };
        };
        let write = || self.write(texts, &leaving, values, &route, &to);
        if texts.is_test {
            return match &self.sandbox {
                Some(sandbox) => self.keep(sandbox, &leaving, &write()).await,
                None if !leaving.clearance.may_begin() => Outcome::NotBegun,
                None => Outcome::Sent { provider_id: leaving.message.to_string(), parts: None },
            };
        }
        match (&route.way, &self.sandbox) {
            (Way::Broken(word), _) => {
                Outcome::Transient { code: (*word).into(), retry_after: Some(SETTINGS_REST) }
            }
            (Way::Smtp(pool), _) => {
                let envelope = Envelope { from: &route.sender.address, to: &to };
                pool.send(envelope, &write().source, leaving.clearance).await
            }
            (Way::None, Some(sandbox)) => self.keep(sandbox, &leaving, &write()).await,
            (Way::None, None) => {
                let code = "no_smtp_server".into();
                Outcome::Permanent { reason: "no_smtp_server", code }
            }
        }
    }

    fn write<V: Values>(
        &self,
        texts: &Texts,
        leaving: &Leaving<'_>,
        values: &V,
        route: &Route,
        to: &str,
    ) -> Written {
        let unsubscribe = self.links.unsubscribe_url(Linked {
            organisation: leaving.organisation.uuid(),
            customer: leaving.customer.uuid(),
            channel: Channel::Email as u8,
        });
        let letter = Letter {
            message: leaving.message,
            run_day: leaving.run_day,
            date: self.clock.now(),
            to,
            unsubscribe: &unsubscribe,
        };
        letter.write(texts, &route.sender, values)
    }

    async fn keep(&self, sandbox: &Sandbox, leaving: &Leaving<'_>, written: &Written) -> Outcome {
        let line = Accepted {
            message_id: leaving.message.to_string(),
            organisation_id: leaving.organisation.to_string(),
            at: self.clock.now().to_string(),
            to: leaving.address,
            text: None,
            encoding: None,
            parts: None,
            subject: Some(&written.subject),
            source: None,
        };
        let called = Called {
            organisation: leaving.organisation,
            run_day: leaving.run_day,
            message: leaving.message,
            attempt: leaving.attempt,
        };
        sandbox.call(called, line, Some(&written.source), leaving.clearance).await
    }
}
