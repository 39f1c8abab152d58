//! SMS behind the gateway port: counts, renders, and picks the organisation's provider.

mod http;
mod provider;
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

use crate::{receipts::Receipts, text::Text};
use provider::Sms;
pub(crate) use routes::Routes;
pub(crate) use smpp::{Heeded, Shared};
pub(crate) use verdict::code;
pub use wire::RootsError;
pub(crate) use wire::Wire;

pub(crate) struct SmsGateway {
    pub routes: Arc<Routes>,
    pub clock: Clock,
    pub links: Links,
    pub receipts: Receipts,
}

#[async_trait]
impl Gateway for SmsGateway {
    type Prepared = Text;

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    async fn account(&self, organisation: OrganisationId) -> Account {
        match self.routes.of(organisation).await {
            Ok(route) => route.account.clone(),
            Err(routes::Unreadable) => Account::unlimited("none"),
        }
    }

    fn prepare(&self, content: &Content) -> Result<Text, String> {
        let sms = content.sms.as_ref().ok_or("the batch has no SMS text")?;
        Text::parse(sms).map_err(|error| error.to_string())
    }

    /// Every link is as long as every other, so what is counted here is what is sent. What is never
    /// sent costs nothing, and waits for no credits.
    fn units(&self, text: &Text, recipient: Recipient<'_>) -> u32 {
        sms::sendable(&text.render(recipient, &self.links)).map_or(0, |count| count.parts)
    }

    async fn send(&self, text: &Text, outgoing: Outgoing<'_>) -> Outcome {
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
        if route.account.name != outgoing.account || !outgoing.clearance.may_begin() {
            return Outcome::NotBegun;
        }
        route.provider.send(&sms).await
    }
}
