//! What the variables of a channel's texts stand for, customer by customer.

use std::collections::BTreeSet;

use carillon_content::{Template, TemplateError, Values, Variable, sms::SmsText};
use carillon_contracts::jobs::v1::{Channel, Content};

use super::decide::Person;

/// A run's texts, parsed, and the variables that each channel needs.
pub(crate) struct Texts {
    pub sms: Option<SmsText>,
    pub email: Option<EmailTexts>,
    sms_variables: Wanted,
    email_variables: Wanted,
}

pub(crate) struct EmailTexts {
    pub subject: Template,
    pub text: Template,
    pub html: Template,
}

impl Texts {
    pub(crate) fn parse(content: &Content) -> Result<Self, TemplateError> {
        let sms = content.sms.as_ref();
        let sms = sms.map(|sms| SmsText::parse(&sms.text, sms.downgrade)).transpose()?;
        let email = match &content.email {
            None => None,
            Some(email) => Some(EmailTexts {
                subject: Template::parse(&email.subject)?,
                text: Template::parse(&email.text)?,
                html: Template::parse(&email.html)?,
            }),
        };
        let sms_variables = Wanted::of(sms.iter().map(SmsText::template));
        let in_email = email.iter().flat_map(|email| [&email.subject, &email.text, &email.html]);
        let email_variables = Wanted::of(in_email);
        Ok(Self { sms, email, sms_variables, email_variables })
    }

    /// The channels that the content has.
    pub(crate) fn channels(&self) -> Vec<Channel> {
        let sms = self.sms.is_some().then_some(Channel::Sms);
        let email = self.email.is_some().then_some(Channel::Email);
        sms.into_iter().chain(email).collect()
    }

    pub(crate) fn variables(&self, channel: Channel) -> &Wanted {
        match channel {
            Channel::Email => &self.email_variables,
            _ => &self.sms_variables,
        }
    }
}

/// The variables of some texts, each once, in a fixed order.
#[derive(Debug)]
pub(crate) struct Wanted(Vec<Variable>);

impl Wanted {
    fn of<'a>(templates: impl Iterator<Item = &'a Template>) -> Self {
        let variables: BTreeSet<Variable> = templates.flat_map(Template::variables).collect();
        Self(variables.into_iter().filter(|variable| !variable.is_made_at_send()).collect())
    }

    /// As they stand between the braces.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// In the order of `names`; empty where there is no value.
    pub(crate) fn values(&self, person: &Person, organisation: &str) -> Vec<String> {
        self.0.iter().map(|variable| value(variable, person, organisation)).collect()
    }
}

fn value(variable: &Variable, person: &Person, organisation: &str) -> String {
    if *variable == Variable::Organisation {
        return organisation.to_owned();
    }
    let Some(profile) = &person.profile else { return String::new() };
    match variable {
        Variable::UserName if profile.display_name.is_empty() => profile.first_name.clone(),
        Variable::UserName => profile.display_name.clone(),
        Variable::FirstName => profile.first_name.clone(),
        Variable::LastName => profile.last_name.clone(),
        Variable::Points => person.candidate.points.to_string(),
        Variable::Birthday => profile.birthday.clone(),
        Variable::Attribute(name) => profile.attributes.get(name).cloned().unwrap_or_default(),
        Variable::Organisation => organisation.to_owned(),
        Variable::UnsubscribeUrl => String::new(),
    }
}

/// One customer's values, for rendering.
pub(crate) struct Filled<'a> {
    pub wanted: &'a Wanted,
    pub values: &'a [String],
    /// Not among the values: a plan carries none, for it is made when a message is sent.
    pub unsubscribe_url: &'a str,
}

impl Values for Filled<'_> {
    fn value(&self, variable: &Variable) -> Option<&str> {
        if *variable == Variable::UnsubscribeUrl {
            return Some(self.unsubscribe_url);
        }
        let position = self.wanted.0.iter().position(|wanted| wanted == variable)?;
        self.values.get(position).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::{
        audience::v1::Consent,
        ids::CustomerId,
        jobs::v1::{EmailContent, SmsContent},
    };
    use uuid::Uuid;

    use super::{
        super::{
            decide::{Candidate, Reach},
            record::Profile,
        },
        *,
    };

    fn person(profile: Profile) -> Person {
        let candidate = Candidate {
            id: CustomerId::new(Uuid::from_u128(1)),
            blacklisted: false,
            consent: Consent::Given,
            language: "en".into(),
            points: -7,
            sms: Reach::default(),
            email: Reach::default(),
        };
        Person { candidate, profile: Some(profile) }
    }

    fn texts(sms: &str, html: &str) -> Texts {
        let email =
            EmailContent { subject: "{FirstName}".into(), text: String::new(), html: html.into() };
        let content = Content {
            sms: Some(SmsContent { text: sms.into(), downgrade: false }),
            email: Some(email),
            template: None,
            test: false,
        };
        Texts::parse(&content).expect("valid")
    }

    #[test]
    fn a_channel_asks_for_the_variables_of_its_own_texts_only() {
        let texts = texts("{Points} {UserName} {Points}", "{attr.city|x}{Birthday}");
        assert_eq!(texts.variables(Channel::Sms).names(), ["UserName", "Points"]);
        let email = texts.variables(Channel::Email).names();
        assert_eq!(email, ["FirstName", "Birthday", "attr.city"]);
    }

    #[test]
    fn the_display_name_comes_before_the_first_name() {
        let texts = texts("{UserName}, {Points}, {attr.city}, {Organisation}", "");
        let wanted = texts.variables(Channel::Sms);
        let named = Profile { first_name: "Ann".into(), ..Profile::default() };
        assert_eq!(wanted.values(&person(named.clone()), "Café")[0], "Ann");
        let shown = Profile {
            display_name: "Annie".into(),
            attributes: [("city".into(), "Delft".into())].into(),
            ..named
        };
        let values = wanted.values(&person(shown), "Café");
        let filled = Filled { wanted, values: &values, unsubscribe_url: "" };
        let text = texts.sms.as_ref().expect("an SMS");
        let text = text.render(&filled);
        assert_eq!(text, "Annie, -7, Delft, Café");
    }
}
