//! A campaign's text, compiled once a batch.

use carillon_content::{TemplateError, Values, Variable, sms::SmsText};
use carillon_contracts::jobs::v1::{Channel, SmsContent};
use carillon_dispatch::Recipient;
use carillon_sealing::{Linked, Links};

pub(crate) struct Text {
    text: SmsText,
    has_link: bool,
    /// It was started with a test key.
    pub is_test: bool,
}

impl Text {
    pub(crate) fn parse(content: &SmsContent, is_test: bool) -> Result<Self, TemplateError> {
        let text = SmsText::parse(&content.text, content.downgrade)?;
        let has_link = text.uses(&Variable::UnsubscribeUrl);
        Ok(Self { text, has_link, is_test })
    }

    pub(crate) fn render(&self, recipient: Recipient<'_>, links: &Links) -> String {
        if !self.has_link {
            return self.text.render(&recipient);
        }
        let url = links.unsubscribe_url(Linked {
            organisation: recipient.organisation.uuid(),
            customer: recipient.customer.uuid(),
            channel: Channel::Sms as u8,
        });
        self.text.render(&WithLink { recipient, url })
    }
}

/// The link is made here and nowhere else, for it opens what it names.
struct WithLink<'a> {
    recipient: Recipient<'a>,
    url: String,
}

impl Values for WithLink<'_> {
    fn value(&self, variable: &Variable) -> Option<&str> {
        match variable {
            Variable::UnsubscribeUrl => Some(&self.url),
            other => self.recipient.value(other),
        }
    }
}
