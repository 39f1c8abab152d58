//! What saved texts may be.

use carillon_contracts::{ids::TemplateId, jobs::v1::Content};
use carillon_service_kit::status::FieldError;

use super::{check_name, content};

/// How a request names a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    Id(TemplateId),
    Name(String),
}

impl Which {
    /// No name reads as an id.
    pub(crate) fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }
}

/// Every wrong field of a new template.
pub(crate) fn check(name: &str, content: &Content) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_name(name, &mut errors);
    let rule = if name.contains('@') {
        "contains '@', which stands before a version, as in NAME@3; choose another name"
    } else if name.trim() != name && !name.trim().is_empty() {
        "begins or ends with a blank; take it out"
    } else if matches!(Which::of(name), Which::Id(_)) {
        "reads as an id; choose another name"
    } else {
        ""
    };
    if !rule.is_empty() {
        errors.push(FieldError::new("name", rule));
    }
    check_content(content, &mut errors);
    errors
}

/// The rules of a campaign's content.
pub(crate) fn check_content(content: &Content, errors: &mut Vec<FieldError>) {
    if content.template.is_some() {
        let rule = "saved texts are not made of saved texts; give content.sms or content.email";
        errors.push(FieldError::new("content.template", rule));
    } else if !content::has_text(content) {
        let rule = "has no text; give content.sms.text, or content.email.subject with \
            content.email.text or content.email.html";
        errors.push(FieldError::new("content", rule));
    } else {
        content::check(content, errors);
    }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::jobs::v1::{SmsContent, TemplateVersion};

    use super::*;

    fn errors(name: &str, content: &Content) -> Vec<String> {
        check(name, content).iter().map(ToString::to_string).collect()
    }

    fn saying(text: &str) -> Content {
        let sms = SmsContent { text: text.into(), ..SmsContent::default() };
        Content { sms: Some(sms), ..Content::default() }
    }

    #[test]
    fn a_name_is_told_apart_from_an_id_and_a_version() {
        let id = "0190b0a2-7c1e-7a61-b0f3-6d6f2c5d8e11";
        assert!(matches!(Which::of(id), Which::Id(_)));
        assert_eq!(Which::of("Welcome back"), Which::Name("Welcome back".into()));
        assert_eq!(errors("Welcome back", &saying("Hi")), [""; 0]);
        for (name, rule) in [
            (
                "a@3",
                "name: contains '@', which stands before a version, as in NAME@3; choose another name",
            ),
            (" a", "name: begins or ends with a blank; take it out"),
            (id, "name: reads as an id; choose another name"),
            (" ", "name: is missing; give 1 to 100 characters"),
        ] {
            assert_eq!(errors(name, &saying("Hi")), [rule]);
        }
    }

    #[test]
    fn its_texts_follow_the_rules_of_campaigns() {
        assert_eq!(
            errors("a", &saying("{Nmae}")).len(),
            1,
            "an unknown variable is refused when the text is saved"
        );
        let named = TemplateVersion { template: "b".into(), ..TemplateVersion::default() };
        assert_eq!(
            errors("a", &Content { template: Some(named), ..saying("Hi") }),
            [
                "content.template: saved texts are not made of saved texts; give content.sms or content.email"
            ]
        );
    }
}
