//! What a campaign may be. Whether a filter holds, and customers exist, the segment evaluator
//! knows.

use carillon_contracts::{
    campaign::v1::{
        Audience, Campaign, CampaignState, CustomerList, Validity, audience::Selection,
    },
    jobs::v1::Content,
    time,
};
use carillon_service_kit::status::FieldError;
use jiff::SignedDuration;
use prost_types::Duration;

use super::{check_name, content, schedule, validity};

const MOST_CUSTOMERS: usize = 10_000;
const PENDING: [SignedDuration; 2] =
    [SignedDuration::from_mins(1), SignedDuration::from_hours(7 * 24)];
const AT_MOST_ONCE: [SignedDuration; 2] =
    [SignedDuration::ZERO, SignedDuration::from_hours(365 * 24)];

/// The fields that an update may name.
pub(crate) const SETTABLE: &[&str] = &[
    "name",
    "active",
    "valid",
    "valid.from",
    "valid.until",
    "audience",
    "schedule",
    "pending_period",
    "at_most_once_in",
    "content",
    "content.sms",
    "content.email",
    "content.template",
];

/// The campaign without what only the service sets, what limits nothing, and channels that have
/// no text.
pub(crate) fn settable(given: Campaign) -> Campaign {
    Campaign {
        id: String::new(),
        state: CampaignState::Unspecified.into(),
        create_time: None,
        update_time: None,
        run_id: String::new(),
        version: 0,
        archive_time: None,
        in_effect: None,
        // Open at both ends is as good as none.
        valid: given.valid.filter(|valid| *valid != Validity::default()),
        content: given.content.map(content::used),
        ..given
    }
}

/// `current` with the named fields of `given`. What is set in the place of saved texts is the
/// campaign's own.
pub(crate) fn merged(current: &Campaign, given: Campaign, paths: &[&'static str]) -> Campaign {
    let mut merged = current.clone();
    let valid = given.valid.clone().unwrap_or_default();
    let content = given.content.clone().unwrap_or_default();
    let whole_content = paths.contains(&"content");
    for path in paths {
        match *path {
            part if part.starts_with("content.") && whole_content => {}
            "name" => merged.name.clone_from(&given.name),
            "active" => merged.active = given.active,
            "valid" => merged.valid.clone_from(&given.valid),
            "valid.from" => merged.valid.get_or_insert_default().from.clone_from(&valid.from),
            "valid.until" => merged.valid.get_or_insert_default().until.clone_from(&valid.until),
            "audience" => merged.audience.clone_from(&given.audience),
            "schedule" => merged.schedule.clone_from(&given.schedule),
            "pending_period" => merged.pending_period = given.pending_period,
            "at_most_once_in" => merged.at_most_once_in = given.at_most_once_in,
            "content" => merged.content.clone_from(&given.content),
            "content.template" if content.template.is_some() => {
                let template = content.template.clone();
                merged.content = Some(Content { template, ..Content::default() });
            }
            part => {
                let merged = merged.content.get_or_insert_default();
                merged.template = None;
                match part {
                    "content.sms" => merged.sms.clone_from(&content.sms),
                    "content.email" => merged.email.clone_from(&content.email),
                    _ => {}
                }
            }
        }
    }
    merged
}

/// `given` as an update of what was started: naming the saved texts that it has, in whatever version
/// is the newest by now, changes nothing.
pub(crate) fn still_pinned(started: &Campaign, given: Campaign) -> Campaign {
    let pinned = started.content.as_ref().and_then(|content| content.template.as_ref());
    let named = given.content.as_ref().filter(|content| !content::has_text(content));
    let named = named.and_then(|content| content.template.as_ref());
    let (Some(pinned), Some(named)) = (pinned, named) else { return given };
    let same = [&pinned.template, &pinned.name].contains(&&named.template)
        && [0, pinned.version].contains(&named.version);
    if same { Campaign { content: started.content.clone(), ..given } } else { given }
}

/// Every wrong field but those of the content.
pub(crate) fn check(campaign: &Campaign) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_name(&campaign.name, &mut errors);
    if let Some(valid) = &campaign.valid {
        validity::check(valid, &mut errors);
    }
    check_audience(campaign.audience.as_ref(), &mut errors);
    schedule::check(campaign.schedule.as_ref(), campaign.valid.as_ref(), &mut errors);
    let (pending, once) = (campaign.pending_period.as_ref(), campaign.at_most_once_in.as_ref());
    check_duration("pending_period", pending, PENDING, "1 minute to 7 days", &mut errors);
    check_duration("at_most_once_in", once, AT_MOST_ONCE, "0 to 365 days", &mut errors);
    errors
}

fn check_audience(audience: Option<&Audience>, errors: &mut Vec<FieldError>) {
    let (field, rule) = match audience.and_then(|audience| audience.selection.as_ref()) {
        None => (
            "audience",
            "is missing; give audience.filter, audience.customers, or audience.everyone: true"
                .to_owned(),
        ),
        Some(Selection::Everyone(false)) => (
            "audience.everyone",
            "can only be true; for fewer customers give audience.filter or audience.customers"
                .to_owned(),
        ),
        Some(Selection::Filter(filter)) if filter.trim().is_empty() => (
            "audience.filter",
            "is empty; give an expression such as category:\"VIP\", or audience.everyone: true"
                .to_owned(),
        ),
        Some(Selection::Customers(CustomerList { external_ids })) if external_ids.is_empty() => {
            ("audience.customers", "is empty; name 1 to 10,000 customers".to_owned())
        }
        Some(Selection::Customers(CustomerList { external_ids }))
            if external_ids.len() > MOST_CUSTOMERS =>
        {
            let given = external_ids.len();
            let rule = format!("names {given} customers; 10,000 at most, so use audience.filter");
            ("audience.customers", rule)
        }
        Some(_) => return,
    };
    errors.push(FieldError::new(field, rule));
}

fn check_duration(
    field: &str,
    given: Option<&Duration>,
    [least, most]: [SignedDuration; 2],
    limits: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(given) = given else { return };
    let duration = time::duration_from_wire(given);
    if duration < least || duration > most {
        let rule = format!("{duration:#} is not within {limits}; give a duration such as 12h");
        errors.push(FieldError::new(field, rule));
    }
}

#[cfg(test)]
mod tests;
