//! A campaign file: YAML whose keys are the fields of the gRPC message, plus `html_file`.

mod duration;
mod schema;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, CustomerList, Schedule, Validity, audience::Selection, schedule::When,
    },
    jobs::v1::{Content, EmailContent, SmsContent},
};
use serde_saphyr::Spanned;
use tonic::Status;

use self::schema::{AudienceKeys, ContentKeys, EmailKeys, Keys, ScheduleKeys};
use crate::error::{Error, violations};

/// Bytes of a campaign file or an HTML file, at most; the server takes 200,000 characters.
const FILE_BYTES: u64 = 1024 * 1024;

/// A campaign as its file says, and where in the file each field stands.
#[derive(Debug)]
pub struct CampaignFile {
    /// For messages.
    pub name: String,
    pub campaign: Campaign,
    lines: BTreeMap<&'static str, u64>,
}

impl CampaignFile {
    /// Reads a file, and the `html_file` that it names; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            let mut text = String::new();
            let read = std::io::stdin().take(FILE_BYTES + 1).read_to_string(&mut text);
            read.map_err(|error| Error::failed(format!("standard input: can't be read: {error}")))?;
            return Self::parse("standard input", &text, Path::new("."));
        }
        let name = path.display().to_string();
        let text = read_text(path, &name)?;
        Self::parse(&name, &text, path.parent().unwrap_or(Path::new(".")))
    }

    /// `folder` is where `html_file` is looked for.
    pub fn parse(name: &str, text: &str, folder: &Path) -> Result<Self, Error> {
        let keys = schema::parse(name, text)?;
        let mut reading = Reading { name, folder, lines: BTreeMap::new(), wrong: vec![] };
        let campaign = reading.campaign(keys);
        if reading.wrong.is_empty() {
            Ok(Self { name: name.to_owned(), campaign, lines: reading.lines })
        } else {
            Err(Error::failed(reading.wrong.join("\n")))
        }
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

/// Turns keys into a campaign, noting lines, and every fault with its line.
struct Reading<'a> {
    name: &'a str,
    folder: &'a Path,
    lines: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

impl Reading<'_> {
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

    fn content(&mut self, keys: ContentKeys) -> Content {
        let sms = self.take("content.sms", keys.sms).map(|sms| SmsContent {
            text: self.take("content.sms.text", sms.text).unwrap_or_default(),
            downgrade: self.take("content.sms.downgrade", sms.downgrade).unwrap_or_default(),
        });
        let email = self.take("content.email", keys.email).map(|email| self.email(email));
        Content { sms, email }
    }

    fn email(&mut self, keys: EmailKeys) -> EmailContent {
        let html = self.take("content.email.html", keys.html);
        let html_file = self.take("content.email.html_file", keys.html_file);
        let html = match (html, html_file) {
            (html, None) => html,
            (None, Some(file)) => self.html_file(file),
            (Some(_), Some(_)) => {
                self.refuse("content.email.html_file", "stands beside html; leave one of them out");
                None
            }
        };
        EmailContent {
            subject: self.take("content.email.subject", keys.subject).unwrap_or_default(),
            text: self.take("content.email.text", keys.text).unwrap_or_default(),
            html: html.unwrap_or_default(),
        }
    }

    fn html_file(&mut self, file: PathBuf) -> Option<String> {
        // A fault in the HTML is one of this line too: the server knows it as `html`.
        let line = self.lines.get("content.email.html_file").copied().unwrap_or(1);
        self.lines.insert("content.email.html", line);
        let path = self.folder.join(file);
        match read_text(&path, &format!("'{}'", path.display())) {
            Ok(text) => Some(text),
            Err(error) => {
                self.refuse(
                    "content.email.html_file",
                    format!("{error}; the path is relative to the campaign file"),
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
