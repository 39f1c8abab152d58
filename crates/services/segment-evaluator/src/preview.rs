//! Preview: the content as one customer would see it, and why they would not get it.

use carillon_content::{
    Escape, Template,
    sms::{self, MAX_CHARACTERS, SmsText},
};
use carillon_contracts::{
    audience::v1::PreviewContentRequest,
    campaign::v1::{EmailPreview, Organisation, Preview, SmsPreview},
    ids::OrganisationId,
    jobs::v1::Channel,
    vocabulary::SkipReason,
};
use carillon_numbering::Rates;
use carillon_service_kit::status::{invalid, not_found};
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        decide::{Person, Policy},
        filter::Selection,
        variables::{EmailTexts, Filled, Texts},
    },
    people::Open,
};

impl Evaluator {
    pub(crate) async fn preview(
        &self,
        organisation: OrganisationId,
        request: PreviewContentRequest,
    ) -> Result<Preview, Status> {
        let texts = Texts::parse(&request.content.unwrap_or_default())
            .map_err(|error| invalid("content", error.to_string()))?;
        let settings = self.organisation(organisation).await?;
        let unknown = || {
            let shown: String = request.customer.chars().take(64).collect();
            not_found(format!("customer: there is no customer '{shown}'; give an external id"))
        };
        // PostgreSQL refuses to look for NUL, which no id holds.
        if request.customer.contains('\0') {
            return Err(unknown());
        }
        let only = Selection::Customers(vec![request.customer.clone()]);
        let page = self.people(organisation, &only, "", 1, Open::Everybodys).await?;
        let person = page.people.first().ok_or_else(unknown)?;
        let policy = Policy::of(&settings);
        let skipped = |channel| person.skipped(channel, &policy);
        let link = |channel| self.unsubscribe_url(organisation, person.candidate.id, channel);
        let show = Show { texts: &texts, person, settings: &settings, link: &link };
        Ok(Preview {
            sms: texts.sms.as_ref().map(|text| show.sms(text, skipped(Channel::Sms))),
            email: texts.email.as_ref().map(|email| show.email(email, skipped(Channel::Email))),
        })
    }
}

/// One customer's view of the texts.
struct Show<'a> {
    texts: &'a Texts,
    person: &'a Person,
    settings: &'a Organisation,
    link: &'a dyn Fn(Channel) -> String,
}

impl Show<'_> {
    /// Renders by what the customer's values are.
    fn with<T>(&self, channel: Channel, render: impl FnOnce(&Filled<'_>) -> T) -> T {
        let wanted = self.texts.variables(channel);
        let values = wanted.values(self.person, &self.settings.name);
        let unsubscribe_url = (self.link)(channel);
        render(&Filled { wanted, values: &values, unsubscribe_url: &unsubscribe_url })
    }

    fn to(&self, channel: Channel) -> String {
        self.person.profile.as_ref().map_or("", |profile| profile.address(channel)).to_owned()
    }

    fn sms(&self, text: &SmsText, skipped: Option<SkipReason>) -> SmsPreview {
        let text = self.with(Channel::Sms, |values| text.render(values));
        let count = sms::count(&text);
        let to = self.to(Channel::Sms);
        let rate = if to.is_empty() { 0 } else { Rates::of(&self.settings.rates).of_number(&to) };
        SmsPreview {
            to,
            credits: count.parts.saturating_mul(rate),
            encoding: count.encoding.name().into(),
            characters: count.characters,
            parts: count.parts,
            left_in_part: count.left_in_part,
            forced_by: count.forced_by.map(String::from).unwrap_or_default(),
            line_breaks: count.line_breaks,
            characters_left: (MAX_CHARACTERS as u32).saturating_sub(count.characters),
            skipped: word(skipped),
            text,
        }
    }

    fn email(&self, email: &EmailTexts, skipped: Option<SkipReason>) -> EmailPreview {
        let render = |template: &Template, escape| {
            self.with(Channel::Email, |values| template.render(values, escape))
        };
        EmailPreview {
            to: self.to(Channel::Email),
            subject: render(&email.subject, Escape::None),
            text: render(&email.text, Escape::None),
            html: render(&email.html, Escape::Html),
            skipped: word(skipped),
        }
    }
}

fn word(skipped: Option<SkipReason>) -> String {
    skipped.map_or("", SkipReason::word).to_owned()
}
