//! SMS behind the gateway port.

use async_trait::async_trait;
use carillon_content::{
    Escape, Template,
    sms::{self, Encoding, MAX_CHARACTERS},
};
use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Channel, Content},
};
use carillon_dispatch::{
    Account, Gateway, Outcome, Outgoing, Recipient,
    sandbox::{Accepted, Sandbox},
};
use carillon_service_kit::Clock;

pub(crate) struct SmsGateway {
    pub sandbox: Sandbox,
    pub clock: Clock,
}

#[async_trait]
impl Gateway for SmsGateway {
    type Prepared = Template;

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    async fn account(&self, _: OrganisationId) -> Account {
        Account::unlimited("sandbox")
    }

    fn prepare(&self, content: &Content) -> Result<Template, String> {
        let sms = content.sms.as_ref().ok_or("the batch has no SMS text")?;
        Template::parse(&sms.text).map_err(|error| error.to_string())
    }

    fn units(&self, template: &Template, recipient: Recipient<'_>) -> u32 {
        sms::count(&template.render(&recipient, Escape::None)).parts
    }

    async fn send(&self, template: &Template, outgoing: Outgoing<'_>) -> Outcome {
        let text = template.render(&outgoing.recipient, Escape::None);
        let count = sms::count(&text);
        if text.trim().is_empty() {
            return Outcome::Permanent { reason: "text_empty", code: String::new() };
        }
        if count.characters as usize > MAX_CHARACTERS {
            let code = format!("{} characters after substitution", count.characters);
            return Outcome::Permanent { reason: "text_too_long", code };
        }
        let line = Accepted {
            message_id: outgoing.message.to_string(),
            organisation_id: outgoing.organisation.to_string(),
            at: self.clock.now().to_string(),
            to: outgoing.recipient.address(),
            text: Some(&text),
            encoding: Some(match count.encoding {
                Encoding::Gsm7 => "GSM-7",
                Encoding::Ucs2 => "UCS-2",
            }),
            parts: Some(count.parts),
            subject: None,
            source: None,
        };
        self.sandbox.call(outgoing.message, outgoing.attempt, line, None).await
    }
}
