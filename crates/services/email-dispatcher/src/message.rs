//! An e-mail as RFC 5322 text with MIME parts.

use carillon_content::{Escape, Template};
use carillon_contracts::{
    ids::MessageId,
    jobs::v1::{Content, EmailContent},
};
use carillon_dispatch::Recipient;
use lettre::{
    Message,
    address::Address,
    message::{Mailbox, MultiPart, SinglePart},
};

/// The domain of Message-IDs, and of the sandbox's sender.
const DOMAIN: &str = "carillon.example";

/// The texts of a batch, compiled once.
pub(crate) struct Texts {
    subject: Template,
    text: Option<Template>,
    html: Option<Template>,
}

impl Texts {
    pub(crate) fn of(content: &Content) -> Result<Self, String> {
        let EmailContent { subject, text, html } =
            content.email.as_ref().ok_or("the batch has no e-mail content")?;
        let compile = |text: &str| Template::parse(text).map_err(|error| error.to_string());
        let optional = |text: &String| match text.as_str() {
            "" => Ok(None),
            text => compile(text).map(Some),
        };
        Ok(Self { subject: compile(subject)?, text: optional(text)?, html: optional(html)? })
    }

    /// A line break in a value must not become a header.
    pub(crate) fn subject_for(&self, recipient: Recipient<'_>) -> String {
        let subject = self.subject.render(&recipient, Escape::None);
        subject.replace(|character: char| character.is_control(), " ")
    }

    /// The whole source. Its Message-ID is the same however often it is made.
    pub(crate) fn source(
        &self,
        sender: &str,
        recipient: Recipient<'_>,
        subject: &str,
        message: MessageId,
        run_day: i32,
        date: std::time::SystemTime,
    ) -> Result<Vec<u8>, String> {
        let to: Address = recipient.address().parse().map_err(|_| "address")?;
        let from = Address::new("no-reply", DOMAIN).map_err(|_| "sender")?;
        let builder = Message::builder()
            .from(Mailbox::new(Some(sender.to_owned()), from))
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(format!("<{run_day}.{message}@{DOMAIN}>")))
            .date(date);
        let text = self.text.as_ref().map(|text| text.render(&recipient, Escape::None));
        let html = self.html.as_ref().map(|html| html.render(&recipient, Escape::Html));
        let built = match (text, html) {
            (Some(text), Some(html)) => {
                builder.multipart(MultiPart::alternative_plain_html(text, html))
            }
            (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
            (text, None) => builder.singlepart(SinglePart::plain(text.unwrap_or_default())),
        };
        Ok(built.map_err(|error| error.to_string())?.formatted())
    }
}
