//! The keys of a campaign file, and what to say of YAML that is not one.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_saphyr::{Error as YamlError, Spanned};

use crate::{error::Error, nearest::hint, output::printable};

/// Schedules of a map's key, `{ daily: … }` and so on, that are not served yet.
pub const SCHEDULES: [&str; 4] = ["daily", "weekly", "monthly", "yearly"];

const MAP: &str = "a map of keys, such as { key: value }";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub name: Option<Spanned<String>>,
    pub active: Option<Spanned<bool>>,
    pub valid: Option<Spanned<ValidKeys>>,
    pub audience: Option<Spanned<AudienceKeys>>,
    pub schedule: Option<Spanned<ScheduleKeys>>,
    pub pending_period: Option<Spanned<String>>,
    pub at_most_once_in: Option<Spanned<String>>,
    pub content: Option<Spanned<ContentKeys>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidKeys {
    pub from: Option<Spanned<String>>,
    pub until: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceKeys {
    pub everyone: Option<Spanned<bool>>,
    pub filter: Option<Spanned<String>>,
    pub customers: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentKeys {
    pub sms: Option<Spanned<SmsKeys>>,
    pub email: Option<Spanned<EmailKeys>>,
    /// NAME or NAME@VERSION.
    pub template: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateKeys {
    pub name: Option<Spanned<String>>,
    pub content: Option<Spanned<ContentKeys>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmsKeys {
    pub text: Option<Spanned<String>>,
    pub downgrade: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailKeys {
    pub subject: Option<Spanned<String>>,
    pub text: Option<Spanned<String>>,
    pub html: Option<Spanned<String>>,
    pub html_file: Option<Spanned<PathBuf>>,
}

/// `now`, `{ once: … }`, or what else stands there.
#[derive(Debug, PartialEq, Eq)]
pub enum ScheduleKeys {
    Now,
    Once(String),
    Other(String),
}

impl<'de> Deserialize<'de> for ScheduleKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = ScheduleKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`now` or `{ once: 2026-12-01T09:00 }`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ScheduleKeys, E> {
                Ok(if word == "now" {
                    ScheduleKeys::Now
                } else {
                    ScheduleKeys::Other(word.to_owned())
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScheduleKeys, A::Error> {
                let mut found = None;
                while let Some(key) = map.next_key::<String>()? {
                    let read = if key == "once" {
                        ScheduleKeys::Once(map.next_value()?)
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        ScheduleKeys::Other(key)
                    };
                    // Of several keys the one that can't be served is told of.
                    found = match found {
                        Some(other @ ScheduleKeys::Other(_)) => Some(other),
                        _ => Some(read),
                    };
                }
                Ok(found.unwrap_or_else(|| ScheduleKeys::Other(String::new())))
            }
        }

        deserializer.deserialize_any(Words)
    }
}

/// Reads the keys; a fault names file, line, key and remedy. `example` is a right file.
pub fn parse<T: DeserializeOwned>(name: &str, text: &str, example: &str) -> Result<T, Error> {
    if text.trim().is_empty() {
        return Err(Error::failed(format!("{name}: the file is empty; see {example}")));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        if let Some(broken) = broken(name, text) {
            return broken;
        }
        let error = error.without_snippet();
        let at = error.location();
        let line = at.map_or(1, |at| at.line());
        let (key, value) = at.map_or((None, ""), |at| around(text, at.line(), at.column()));
        Error::failed(format!("{name}:{line}: {}", describe(error, key, value)))
    })
}

/// What keeps the text from being YAML at all: a value that looks wrong may only be cut short by it.
fn broken(name: &str, text: &str) -> Option<Error> {
    let error = serde_saphyr::from_str::<IgnoredAny>(text).err()?;
    let error = error.without_snippet();
    if !matches!(error, YamlError::ExternalMessage { .. } | YamlError::Eof { .. }) {
        return None;
    }
    let line = error.location().map_or(1, |at| at.line());
    Some(Error::failed(format!(
        "{name}:{line}: is not YAML: {}; close each bracket and quote, and indent with blanks",
        describe(error, None, "")
    )))
}

fn describe(error: &YamlError, key: Option<&str>, value: &str) -> String {
    let of_key = key.map_or_else(String::new, |key| format!("{key}: "));
    let not = if value.is_empty() { String::new() } else { format!(", not {}", printable(value)) };
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key '{}': {}", printable(field), hint(field, expected.iter().copied()))
        }
        YamlError::InvalidBooleanStrict { .. } | YamlError::InvalidScalar { ty: "boolean", .. } => {
            format!("{of_key}must be true or false{not}")
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key =
                key.as_deref().map_or_else(String::new, |key| format!(" '{}'", printable(key)));
            format!("the key{key} stands twice; keep one")
        }
        YamlError::MultipleDocuments { .. } => {
            "a second document begins; write each to a file of its own".to_owned()
        }
        YamlError::Unexpected { expected: "mapping start", .. } => {
            format!("{of_key}must be {MAP}{not}")
        }
        YamlError::Unexpected { expected: "sequence start", .. } => {
            format!("{of_key}must be a list, such as [a, b]{not}")
        }
        YamlError::Unexpected { expected: "string scalar", .. } => {
            format!("{of_key}must be a text{not}")
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. } => {
            format!("{of_key}must be {}, not {}", plain(expected), printable(unexpected))
        }
        other => {
            // The message says the place once more, in words; here it stands in front.
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text);
            format!("{of_key}{}", printable(text.lines().next().unwrap_or(text)))
        }
    }
}

/// Without the name of a Rust type.
fn plain(expected: &str) -> String {
    if expected.starts_with("struct ") { MAP.to_owned() } else { expected.to_owned() }
}

/// The value at `column` of `line`, and the key that it belongs to, as far as that line tells.
fn around(text: &str, line: u64, column: u64) -> (Option<&str>, &str) {
    let number = usize::try_from(line).unwrap_or_default();
    let line = text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    let end = (line.char_indices())
        .nth(usize::try_from(column).unwrap_or_default().saturating_sub(1))
        .map_or(line.len(), |(at, _)| at);
    let (before, value) = line.split_at(end);
    let Some(before) = before.trim_end().strip_suffix(':') else { return (None, value.trim()) };
    let before = before.trim_end();
    let start = before.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let key = start.map_or(before, |at| before[at..].trim_start_matches([' ', '{', ',']));
    ((!key.is_empty()).then_some(key), value.trim())
}
