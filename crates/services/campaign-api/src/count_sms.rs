//! Count a draft of an SMS, before and after substitution.

use carillon_content::{
    Values, Variable,
    sms::{MAX_CHARACTERS, SmsText, count},
};
use carillon_contracts::campaign::v1::{CountSmsRequest, CountSmsResponse, SmsPreview};
use carillon_service_kit::status::invalid;
use tonic::Status;

const MOST: usize = 10_000;

/// As to somebody of whom nothing is known.
struct Unknown;

impl Values for Unknown {
    fn value(&self, _: &Variable) -> Option<&str> {
        None
    }
}

pub(crate) fn count_sms(request: &CountSmsRequest) -> Result<CountSmsResponse, Status> {
    let draft = count(&request.text);
    if draft.characters as usize > MOST {
        let rule = format!("has {} characters; {MOST} at most are counted", draft.characters);
        return Err(invalid("text", rule));
    }
    let parsed = SmsText::parse(&request.text, request.downgrade);
    let parsed = parsed.map_err(|error| invalid("text", error.to_string()))?;
    let text = parsed.render(&Unknown);
    let counted = count(&text);
    Ok(CountSmsResponse {
        sms: Some(SmsPreview {
            encoding: counted.encoding.name().into(),
            characters: counted.characters,
            parts: counted.parts,
            left_in_part: counted.left_in_part,
            forced_by: counted.forced_by.map(String::from).unwrap_or_default(),
            line_breaks: counted.line_breaks,
            characters_left: left(counted.characters),
            text,
            ..SmsPreview::default()
        }),
        draft_characters: draft.characters,
        draft_characters_left: left(draft.characters),
        variables: parsed.template().variables().iter().map(ToString::to_string).collect(),
    })
}

fn left(characters: u32) -> u32 {
    (MAX_CHARACTERS as u32).saturating_sub(characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str, downgrade: bool) -> CountSmsResponse {
        count_sms(&CountSmsRequest { text: text.into(), downgrade }).expect("counted")
    }

    #[test]
    fn a_draft_is_counted_before_and_after_substitution() {
        let answer = counted("Hi {UserName|friend} – {Points}", false);
        let sms = answer.sms.expect("counted");
        assert_eq!((sms.text.as_str(), sms.encoding.as_str()), ("Hi friend – ", "UCS-2"));
        assert_eq!((sms.characters, sms.characters_left, sms.left_in_part), (12, 628, 58));
        assert_eq!((sms.forced_by.as_str(), sms.parts), ("–", 1));
        assert_eq!((answer.draft_characters, answer.draft_characters_left), (31, 609));
        assert_eq!(answer.variables, ["UserName", "Points"]);
        let sms = counted("Hi {UserName|friend} – {Points}", true).sms.expect("counted");
        assert_eq!((sms.text.as_str(), sms.encoding.as_str()), ("Hi friend - ", "GSM-7"));
    }

    #[test]
    fn what_is_too_long_has_nothing_left() {
        let answer = counted(&"x".repeat(641), false);
        assert_eq!((answer.draft_characters, answer.draft_characters_left), (641, 0));
        assert_eq!(answer.sms.map(|sms| sms.characters_left), Some(0));
    }

    #[test]
    fn a_wrong_text_is_refused_with_what_is_wrong() {
        let refused = |text: &str| {
            let request = CountSmsRequest { text: text.into(), downgrade: false };
            count_sms(&request).expect_err("refused").message().to_owned()
        };
        assert!(refused("Hi {Nmae}").starts_with("text: `{Nmae}` at character 4"));
        assert_eq!(
            refused(&"x".repeat(10_001)),
            "text: has 10001 characters; 10000 at most are counted"
        );
    }
}
