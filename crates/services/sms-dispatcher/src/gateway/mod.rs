//! SMS behind the gateway port: counts, renders, and picks the organisation's provider.

mod http;
mod provider;
mod route;
mod routes;
mod sandbox;
mod smpp;
mod twilio;
mod verdict;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use carillon_content::sms::{self, Unsendable};
use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Channel, Content},
};
use carillon_dispatch::{Account, Gateway, Outcome, Outgoing, Recipient};
use carillon_sealing::Links;
use carillon_service_kit::Clock;

use crate::{health::HealthWatch, receipts::Receipts, text::Text};
use provider::Sms;
use route::{Route, Way};
pub(crate) use routes::Routes;
pub(crate) use smpp::{Heeded, Shared};
pub(crate) use verdict::code;
pub use wire::RootsError;
pub(crate) use wire::Wire;

pub(crate) struct SmsGateway {
    pub routes: Arc<Routes>,
    pub health: HealthWatch,
    pub clock: Clock,
    pub links: Links,
    pub receipts: Receipts,
}

impl SmsGateway {
    /// What another gateway should take is claimed again for that one; but for what is in doubt here.
    async fn send_by(&self, way: &Way, route: &Route, sms: &Sms<'_>) -> Outcome {
        let Some(watched) = &way.watched else { return way.made.provider.send(sms).await };
        let may = |now_ms| sms.outgoing.in_doubt || route.is_chosen(way, now_ms);
        let Some(call) = self.health.begin(watched, &may).await else { return Outcome::NotBegun };
        let outcome = way.made.provider.send(sms).await;
        let has_other = || !route.is_chosen(way, self.health.now_ms());
        self.health.ended(watched, call, &outcome, has_other).await;
        match outcome {
            // Another gateway takes it sooner than this one wants it back.
            Outcome::Transient { code, .. } if !may(self.health.now_ms()) => {
                Outcome::Transient { code, retry_after: None }
            }
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Gateway for SmsGateway {
    type Prepared = Text;

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    async fn account(&self, organisation: OrganisationId) -> Account {
        match self.routes.of(organisation).await {
            Ok(route) => route.account(self.clock.now_ms()),
            Err(routes::Unreadable) => Account::unlimited("none"),
        }
    }

    async fn account_named(&self, organisation: OrganisationId, name: &str) -> Option<Account> {
        let route = self.routes.of(organisation).await.ok()?;
        route.way(name).map(|way| way.account.clone())
    }

    fn prepare(&self, content: &Content) -> Result<Text, String> {
        let sms = content.sms.as_ref().ok_or("the batch has no SMS text")?;
        Text::parse(sms, content.test).map_err(|error| error.to_string())
    }

    /// Every link is as long as every other, so what is counted here is what is sent. What is never
    /// sent costs nothing, and waits for no credits; nor does what is sent nowhere.
    fn parts(&self, text: &Text, recipient: Recipient<'_>) -> u32 {
        if text.is_test {
            return 0;
        }
        sms::sendable(&text.render(recipient, &self.links)).map_or(0, |count| count.parts)
    }

    async fn send(&self, text: &Text, outgoing: Outgoing<'_>) -> Outcome {
        let is_test = text.is_test;
        let text = text.render(outgoing.recipient, &self.links);
        let count = match sms::sendable(&text) {
            Ok(count) => count,
            Err(Unsendable::Empty) => {
                return Outcome::Permanent { reason: "text_empty", code: String::new() };
            }
            Err(Unsendable::TooLong { characters }) => {
                let code = format!("{characters} characters after substitution");
                return Outcome::Permanent { reason: "text_too_long", code };
            }
        };
        let Ok(route) = self.routes.of(outgoing.organisation).await else {
            return Outcome::NotBegun;
        };
        let sms = Sms {
            outgoing: &outgoing,
            text: &text,
            count,
            clock: &self.clock,
            receipts: &self.receipts,
        };
        // Claimed for an account that was replaced meanwhile: claimed again for the new one.
        let Some(way) = route.way(outgoing.account).filter(|_| outgoing.clearance.may_begin())
        else {
            return Outcome::NotBegun;
        };
        if is_test {
            return self.routes.nowhere().send(&sms).await;
        }
        self.send_by(way, &route, &sms).await
    }
}
