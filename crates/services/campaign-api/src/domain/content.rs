//! What a campaign may say.

use carillon_content::{Template, sms::MAX_CHARACTERS};
use carillon_contracts::jobs::v1::{Content, EmailContent, TemplateVersion};
use carillon_service_kit::status::FieldError;

const MOST_SUBJECT: usize = 200;
const MOST_BODY: usize = 200_000;

/// The content with only the channels that have a text, for one without is not used, and with saved
/// texts only where some are named.
pub(crate) fn used(given: Content) -> Content {
    let blank = |text: &str| text.trim().is_empty();
    let sms = given.sms.filter(|sms| !blank(&sms.text));
    let email = given
        .email
        .filter(|email| !(blank(&email.subject) && blank(&email.text) && blank(&email.html)));
    let template = given.template.filter(|named| *named != TemplateVersion::default());
    Content { sms, email, template, test: false }
}

pub(crate) fn has_text(content: &Content) -> bool {
    content.sms.is_some() || content.email.is_some()
}

pub(crate) fn check(content: &Content, errors: &mut Vec<FieldError>) {
    if !has_text(content) {
        errors.push(FieldError::new(
            "content",
            "a campaign with no channel sends nothing; give content.sms.text, or \
             content.email.subject with content.email.text or content.email.html",
        ));
    }
    if let Some(sms) = &content.sms {
        check_text("content.sms.text", &sms.text, MAX_CHARACTERS, errors);
    }
    if let Some(email) = &content.email {
        check_email(email, errors);
    }
}

fn check_email(email: &EmailContent, errors: &mut Vec<FieldError>) {
    let EmailContent { subject, text, html } = email;
    let field = "content.email.subject";
    if subject.trim().is_empty() {
        let rule = "is missing; an e-mail needs a subject of 1 to 200 characters";
        errors.push(FieldError::new(field, rule));
    } else if let Some(at) = subject.chars().position(char::is_control) {
        let rule = format!(
            "has a line break or another control character at character {}; a subject is one line",
            at + 1
        );
        errors.push(FieldError::new(field, rule));
    } else {
        check_text(field, subject, MOST_SUBJECT, errors);
    }
    if text.trim().is_empty() && html.trim().is_empty() {
        errors.push(FieldError::new(
            "content.email",
            "has neither text nor html; give content.email.text, content.email.html, or both",
        ));
    }
    check_text("content.email.text", text, MOST_BODY, errors);
    check_text("content.email.html", html, MOST_BODY, errors);
}

/// The length in characters before substitution, and the variables.
fn check_text(field: &str, text: &str, most: usize, errors: &mut Vec<FieldError>) {
    let length = text.chars().count();
    if length > most {
        let over = length - most;
        let rule = format!("has {length} characters; {most} at most, so shorten it by {over}");
        errors.push(FieldError::new(field, rule));
    }
    let unprintable = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some(at) = text.chars().position(unprintable) {
        let rule = format!("has a control character at character {}; take it out", at + 1);
        errors.push(FieldError::new(field, rule));
    }
    if let Err(error) = Template::parse(text) {
        errors.push(FieldError::new(field, error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::jobs::v1::SmsContent;

    use super::*;

    fn sms(text: impl Into<String>) -> Content {
        Content {
            sms: Some(SmsContent { text: text.into(), downgrade: false }),
            ..Content::default()
        }
    }

    fn email(subject: &str, text: &str, html: &str) -> Content {
        let [subject, text, html] = [subject, text, html].map(str::to_owned);
        Content { email: Some(EmailContent { subject, text, html }), ..Content::default() }
    }

    fn errors(content: Content) -> Vec<String> {
        let mut errors = Vec::new();
        check(&used(content), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_sms_has_640_characters_at_most_whatever_their_bytes() {
        assert_eq!(errors(sms("é".repeat(640))), [""; 0]);
        assert_eq!(
            errors(sms("é".repeat(641))),
            ["content.sms.text: has 641 characters; 640 at most, so shorten it by 1"]
        );
    }

    #[test]
    fn only_lines_and_tabs_may_control() {
        assert_eq!(errors(sms("a\tb\r\nc")), [""; 0]);
        assert_eq!(
            errors(sms("a\0b")),
            ["content.sms.text: has a control character at character 2; take it out"]
        );
    }

    #[test]
    fn a_channel_without_text_is_not_used() {
        let no_channel = "content: a campaign with no channel sends nothing; give \
            content.sms.text, or content.email.subject with content.email.text or \
            content.email.html";
        assert_eq!(errors(sms(" \n")), [no_channel]);
        assert_eq!(errors(email("", "", "")), [no_channel]);
        let both = Content { sms: sms("").sms, ..email("Hi", "Hello", "") };
        assert_eq!(used(both), email("Hi", "Hello", ""));
    }

    #[test]
    fn an_e_mail_needs_a_subject_of_one_line_and_a_body() {
        assert_eq!(errors(email("Hi", "", "<p>Hello</p>")), [""; 0]);
        assert_eq!(
            errors(email("Hi", "", "")),
            ["content.email: has neither text nor html; give content.email.text, \
             content.email.html, or both"]
        );
        assert_eq!(
            errors(email("", "Hello", "")),
            ["content.email.subject: is missing; an e-mail needs a subject of 1 to 200 characters"]
        );
        assert_eq!(
            errors(email("Hi\r\nBcc: x@example.com", "Hello", "")),
            [
                "content.email.subject: has a line break or another control character at character 3; \
             a subject is one line"
            ]
        );
        assert_eq!(
            errors(email(&"x".repeat(201), "Hello", "")),
            ["content.email.subject: has 201 characters; 200 at most, so shorten it by 1"]
        );
        assert_eq!(
            errors(email("Hi", "", &"x".repeat(200_001))),
            ["content.email.html: has 200001 characters; 200000 at most, so shorten it by 1"]
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_in_every_text() {
        let content = Content {
            email: email("{FirstNme}", "{UserNam}", "<b>{Pionts}</b>").email,
            ..sms("Hi {UsrName}")
        };
        let fields: Vec<String> = errors(content)
            .iter()
            .map(|error| error.split(": ").next().expect("a field").to_owned())
            .collect();
        assert_eq!(
            fields,
            [
                "content.sms.text",
                "content.email.subject",
                "content.email.text",
                "content.email.html"
            ]
        );
        assert_eq!(
            errors(sms("Hi {UsrName}")),
            [
                "content.sms.text: `{UsrName}` at character 4 is not a variable; did you mean `{UserName}`?"
            ]
        );
    }
}
