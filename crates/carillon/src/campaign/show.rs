//! A campaign as fields, under the names of the campaign file.

use std::io;

use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState, audience::Selection, schedule::When},
    jobs::v1::{Content, TemplateVersion},
    time,
};
use serde_json::{Value, json};

use crate::output::{Format, Look, Out, instant, instant_text, thousands, write_record};

pub const TABLE: [&str; 5] = ["id", "name", "state", "active", "created"];

pub fn table_row(campaign: &Campaign) -> Vec<Value> {
    vec![
        json!(campaign.id),
        json!(campaign.name),
        json!(state_word(campaign.state())),
        json!(campaign.active),
        json!(instant_text(campaign.create_time.as_ref())),
    ]
}

/// The word of a campaign's state.
pub fn state_word(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Unspecified => "",
        CampaignState::Draft => "draft",
        CampaignState::Scheduled => "scheduled",
        CampaignState::Running => "running",
        CampaignState::Paused => "paused",
        CampaignState::Cancelled => "cancelled",
        CampaignState::Finished => "finished",
    }
}

/// Writes a campaign; for people each part of its content has a line of its own, without the HTML.
pub fn print(out: Out<'_>, look: Look, campaign: &Campaign) -> io::Result<()> {
    let fields = fields(campaign);
    if look.format != Format::Table {
        return write_record(out, look, &fields);
    }
    let mut shown = Vec::new();
    for (name, value) in fields {
        match name {
            "valid" => shown.push((name, json!(valid_text(campaign)))),
            "content" => shown.extend(content_lines(campaign.content.as_ref())),
            _ => shown.push((name, value)),
        }
    }
    write_record(out, look, &shown)
}

fn valid_text(campaign: &Campaign) -> String {
    let Some(valid) = &campaign.valid else { return String::new() };
    match (valid.from.as_str(), valid.until.as_str()) {
        ("", "") => String::new(),
        (from, "") => format!("from {from}"),
        ("", until) => format!("until {until}"),
        (from, until) => format!("{from} to {until}"),
    }
}

/// The parts of a content, without the HTML.
pub fn content_lines(content: Option<&Content>) -> Vec<(&'static str, Value)> {
    let mut lines = Vec::new();
    let Some(content) = content else { return lines };
    if let Some(TemplateVersion { name, version, .. }) = &content.template {
        lines.push(("template", json!(format!("{name}@{version}"))));
    }
    if let Some(sms) = &content.sms {
        lines.push(("sms_text", json!(sms.text)));
        if sms.downgrade {
            lines.push(("sms_downgrade", json!(true)));
        }
    }
    if let Some(email) = &content.email {
        lines.push(("email_subject", json!(email.subject)));
        lines.push(("email_text", json!(email.text)));
        if !email.html.is_empty() {
            let size = thousands(email.html.chars().count() as u64);
            lines.push(("email_html", json!(format!("{size} characters"))));
        }
    }
    lines
}

pub fn fields(campaign: &Campaign) -> Vec<(&'static str, Value)> {
    let seconds = |duration: &Option<prost_types::Duration>| {
        (duration.as_ref()).map_or(Value::Null, |duration| {
            json!(duration_text(time::duration_from_wire(duration).as_secs()))
        })
    };
    let schedule = campaign.schedule.as_ref().and_then(|schedule| schedule.when.as_ref());
    vec![
        ("id", json!(campaign.id)),
        ("name", json!(campaign.name)),
        ("state", json!(state_word(campaign.state()))),
        ("active", json!(campaign.active)),
        ("valid", valid(campaign)),
        ("audience", audience(campaign)),
        ("schedule", schedule.map_or(Value::Null, when)),
        ("pending_period", seconds(&campaign.pending_period)),
        ("at_most_once_in", seconds(&campaign.at_most_once_in)),
        ("content", content(campaign.content.as_ref())),
        ("run_id", json!(campaign.run_id)),
        ("test", json!(campaign.test)),
        ("version", json!(campaign.version)),
        ("create_time", instant(campaign.create_time.as_ref())),
        ("update_time", instant(campaign.update_time.as_ref())),
    ]
}

fn when(when: &When) -> Value {
    match when {
        When::Now(_) => json!("now"),
        When::Once(at) => json!({ "once": at }),
    }
}

fn valid(campaign: &Campaign) -> Value {
    campaign
        .valid
        .as_ref()
        .map_or(Value::Null, |valid| json!({ "from": valid.from, "until": valid.until }))
}

fn audience(campaign: &Campaign) -> Value {
    match campaign.audience.as_ref().and_then(|audience| audience.selection.as_ref()) {
        None => Value::Null,
        Some(Selection::Everyone(everyone)) => json!({ "everyone": everyone }),
        Some(Selection::Filter(filter)) => json!({ "filter": filter }),
        Some(Selection::Customers(list)) => json!({ "customers": list.external_ids }),
    }
}

/// Under the names of a file, but that a template has its id beside its name and version.
pub fn content(content: Option<&Content>) -> Value {
    let Some(content) = content else { return Value::Null };
    let mut channels = serde_json::Map::new();
    if let Some(TemplateVersion { template, version, name }) = &content.template {
        let pinned = json!({ "id": template, "name": name, "version": version });
        channels.insert("template".to_owned(), pinned);
    }
    if let Some(sms) = &content.sms {
        channels.insert("sms".to_owned(), json!({ "text": sms.text, "downgrade": sms.downgrade }));
    }
    if let Some(email) = &content.email {
        let parts = json!({ "subject": email.subject, "text": email.text, "html": email.html });
        channels.insert("email".to_owned(), parts);
    }
    Value::Object(channels)
}

/// The largest unit that says it exactly: 12h, 7d, 90s.
fn duration_text(seconds: i64) -> String {
    for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        // 24h is how a day is written where hours are meant.
        if seconds != 0 && seconds != 86_400 && seconds % unit == 0 {
            return format!("{}{letter}", seconds / unit);
        }
    }
    if seconds == 86_400 { "24h".to_owned() } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_a_file_would() {
        for (seconds, text) in [
            (43_200, "12h"),
            (604_800, "7d"),
            (86_400, "24h"),
            (1_800, "30m"),
            (90, "90s"),
            (0, "0s"),
        ] {
            assert_eq!(duration_text(seconds), text);
        }
    }
}
