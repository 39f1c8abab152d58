//! A campaign's text, compiled once a batch.

use carillon_content::{Escape, Template, TemplateError, Values, Variable};
use carillon_contracts::jobs::v1::Channel;
use carillon_dispatch::Recipient;
use carillon_sealing::{Linked, Links};

pub(crate) struct Text {
    template: Template,
    has_link: bool,
}

impl Text {
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(source)?;
        let has_link = template.variables().contains(&Variable::UnsubscribeUrl);
        Ok(Self { template, has_link })
    }

    pub(crate) fn render(&self, recipient: Recipient<'_>, links: &Links) -> String {
        if !self.has_link {
            return self.template.render(&recipient, Escape::None);
        }
        let url = links.unsubscribe_url(Linked {
            organisation: recipient.organisation.uuid(),
            customer: recipient.customer.uuid(),
            channel: Channel::Sms as u8,
        });
        self.template.render(&WithLink { recipient, url }, Escape::None)
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
