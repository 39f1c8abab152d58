//! A campaign file, and a file of texts to save: YAML whose keys are the fields of the gRPC message,
//! plus `html_file`.

mod content;
mod duration;
mod schema;

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use carillon_contracts::campaign::v1::{
    Audience, Campaign, CustomerList, Schedule, Template, Validity, audience::Selection,
    schedule::When,
};
use serde_saphyr::Spanned;
use tonic::Status;

use self::schema::{AudienceKeys, Keys, ScheduleKeys, TemplateKeys};
use crate::error::{Error, violations};

/// Bytes of a campaign file or an HTML file, at most; the server takes 200,000 characters.
const FILE_BYTES: u64 = 1024 * 1024;

/// What a file describes, as it says, and where in the file each field stands.
#[derive(Debug)]
pub struct Described<T> {
    /// For messages.
    pub name: String,
    pub it: T,
    lines: BTreeMap<&'static str, u64>,
}

pub type CampaignFile = Described<Campaign>;
pub type TemplateFile = Described<Template>;

/// What a file may describe.
pub trait FromFile: Sized {
    /// `folder` is where `html_file` is looked for.
    fn parse(name: &str, text: &str, folder: &Path) -> Result<Described<Self>, Error>;
}

impl FromFile for Campaign {
    fn parse(name: &str, text: &str, folder: &Path) -> Result<Described<Self>, Error> {
        let keys = schema::parse::<Keys>(name, text, "examples/campaign.yaml")?;
        let mut reading = Reading::new(name, folder);
        let campaign = reading.campaign(keys);
        reading.finish(campaign)
    }
}

impl FromFile for Template {
    fn parse(name: &str, text: &str, folder: &Path) -> Result<Described<Self>, Error> {
        let keys = schema::parse::<TemplateKeys>(name, text, "examples/template.yaml")?;
        let mut reading = Reading::new(name, folder);
        let template = Self {
            name: reading.take("name", keys.name).unwrap_or_default(),
            content: reading.take("content", keys.content).map(|keys| reading.content(keys)),
            ..Self::default()
        };
        reading.finish(template)
    }
}

impl<T: FromFile> Described<T> {
    /// Reads a file, and the `html_file` that it names; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (name, text) = text_of(path)?;
        T::parse(&name, &text, path.parent().unwrap_or(Path::new(".")))
    }

    /// A refusal with the file and the line of each field that it names.
    pub fn explain(&self, status: Status) -> Error {
        let wrong = violations(&status);
        if wrong.is_empty() {
            return status.into();
        }
        let lines: Vec<String> = (wrong.into_iter())
            .map(|(field, why)| {
                let key = field.strip_prefix("campaign.").unwrap_or(&field);
                match self.line_of(key) {
                    Some(line) => format!("{}:{line}: {key}: {why}", self.name),
                    None => format!("{}: {key}: {why}", self.name),
                }
            })
            .collect();
        Error::failed(crate::output::printable_lines(&lines.join("\n")))
    }

    /// Of the key itself, or of the nearest one around it.
    fn line_of(&self, key: &str) -> Option<u64> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once(['.', '[']).map(|(outer, _)| outer)?;
        }
    }
}

/// A file's name for messages, and its text; `-` is standard input.
pub fn text_of(path: &Path) -> Result<(String, String), Error> {
    if path == Path::new("-") {
        let (name, mut text) = ("standard input".to_owned(), String::new());
        let read = std::io::stdin().take(FILE_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| Error::failed(format!("{name}: can't be read: {error}")))?;
        return Ok((name, text));
    }
    let name = path.display().to_string();
    let text = read_text(path, &name)?;
    Ok((name, text))
}

fn read_text(path: &Path, name: &str) -> Result<String, Error> {
    let size = fs::metadata(path)
        .map_err(|error| Error::failed(format!("{name}: can't be read: {error}")))?
        .len();
    if size > FILE_BYTES {
        return Err(Error::failed(format!("{name}: is larger than 1 MiB; make it smaller")));
    }
    let bytes =
        fs::read(path).map_err(|error| Error::failed(format!("{name}: can't be read: {error}")))?;
    String::from_utf8(bytes)
        .map_err(|_| Error::failed(format!("{name}: is not UTF-8; save it as UTF-8")))
}

/// Turns keys into what they describe, noting lines, and every fault with its line.
struct Reading<'a> {
    name: &'a str,
    folder: &'a Path,
    lines: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(name: &'a str, folder: &'a Path) -> Self {
        Self { name, folder, lines: BTreeMap::new(), wrong: vec![] }
    }

    fn finish<T>(self, it: T) -> Result<Described<T>, Error> {
        if self.wrong.is_empty() {
            Ok(Described { name: self.name.to_owned(), it, lines: self.lines })
        } else {
            Err(Error::failed(self.wrong.join("\n")))
        }
    }

    fn campaign(&mut self, keys: Keys) -> Campaign {
        Campaign {
            name: self.take("name", keys.name).unwrap_or_default(),
            active: self.take("active", keys.active).unwrap_or_default(),
            valid: self.take("valid", keys.valid).map(|valid| Validity {
                from: self.take("valid.from", valid.from).unwrap_or_default(),
                until: self.take("valid.until", valid.until).unwrap_or_default(),
            }),
            audience: self.take("audience", keys.audience).and_then(|keys| self.audience(keys)),
            schedule: self.take("schedule", keys.schedule).and_then(|keys| self.schedule(&keys)),
            pending_period: self.duration("pending_period", keys.pending_period),
            at_most_once_in: self.duration("at_most_once_in", keys.at_most_once_in),
            content: self.take("content", keys.content).map(|keys| self.content(keys)),
            ..Campaign::default()
        }
    }

    fn take<T>(&mut self, key: &'static str, value: Option<Spanned<T>>) -> Option<T> {
        value.map(|value| {
            self.lines.insert(key, value.referenced.line());
            value.value
        })
    }

    fn refuse(&mut self, key: &'static str, what: impl std::fmt::Display) {
        let line = self.lines.get(key).copied().unwrap_or(1);
        self.wrong.push(format!("{}:{line}: {key}: {what}", self.name));
    }

    fn audience(&mut self, keys: AudienceKeys) -> Option<Audience> {
        let everyone = self.take("audience.everyone", keys.everyone);
        let filter = self.take("audience.filter", keys.filter);
        let customers = self.take("audience.customers", keys.customers);
        let selection = match (everyone, filter, customers) {
            (Some(everyone), None, None) => Selection::Everyone(everyone),
            (None, Some(filter), None) => Selection::Filter(filter),
            (None, None, Some(ids)) => Selection::Customers(CustomerList { external_ids: ids }),
            _ => {
                self.refuse(
                    "audience",
                    "must hold exactly one of { everyone: true }, { filter: … } and { customers: [ID, …] }",
                );
                return None;
            }
        };
        Some(Audience { selection: Some(selection) })
    }

    fn schedule(&mut self, keys: &ScheduleKeys) -> Option<Schedule> {
        match keys {
            ScheduleKeys::Now => return Some(Schedule { when: Some(When::Now(true)) }),
            ScheduleKeys::Once(at) => {
                return Some(Schedule { when: Some(When::Once(at.clone())) });
            }
            ScheduleKeys::Other(word) if schema::SCHEDULES.contains(&word.as_str()) => self.refuse(
                "schedule",
                format!("'{word}' is not served by this version yet; write `schedule: now`, or `schedule: {{ once: 2026-12-01T09:00 }}`"),
            ),
            ScheduleKeys::Other(word) => self.refuse(
                "schedule",
                format!(
                    "'{}' is not a schedule; write `schedule: now`, or `schedule: {{ once: 2026-12-01T09:00 }}`",
                    crate::output::printable(word)
                ),
            ),
        }
        None
    }

    fn duration(
        &mut self,
        key: &'static str,
        text: Option<Spanned<String>>,
    ) -> Option<prost_types::Duration> {
        let text = self.take(key, text)?;
        match duration::seconds(&text) {
            Ok(seconds) => Some(prost_types::Duration { seconds, nanos: 0 }),
            Err(what) => {
                self.refuse(key, what);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
