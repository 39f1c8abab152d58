//! What may be stored: the rules for organisations, campaigns and templates.

pub(crate) mod address;
pub(crate) mod audited;
pub(crate) mod campaign;
pub(crate) mod content;
pub(crate) mod lifecycle;
pub(crate) mod mask;
mod nearest;
pub(crate) mod organisation;
mod region;
pub(crate) mod schedule;
pub(crate) mod sms;
mod sms_http;
mod sms_smpp;
pub(crate) mod smtp;
pub(crate) mod template;
pub(crate) mod validity;

use carillon_service_kit::status::FieldError;

/// Characters of a name.
const MOST_NAME: usize = 100;

/// `Copy of Monday`, and no longer than a name may be.
pub(crate) fn named_after(what: &str, name: &str) -> String {
    format!("{what} {name}").chars().take(MOST_NAME).collect::<String>().trim_end().to_owned()
}

/// A wrong value as an error shows it: not longer than a line.
fn shown(value: &str) -> String {
    value.chars().take(64).collect()
}

/// The rule for names of organisations, campaigns and templates: 1 to 100 characters, none of them a
/// control character, and not blanks alone.
fn check_name(name: &str, errors: &mut Vec<FieldError>) {
    let length = name.chars().count();
    let problem = if name.trim().is_empty() {
        "is missing; give 1 to 100 characters".to_owned()
    } else if length > MOST_NAME {
        format!(
            "has {length} characters; {MOST_NAME} at most, so shorten it by {}",
            length - MOST_NAME
        )
    } else if let Some(at) = name.chars().position(char::is_control) {
        format!(
            "has a control character (a line break, a tab, …) at character {}; remove it",
            at + 1
        )
    } else {
        return;
    };
    errors.push(FieldError::new("name", problem));
}
