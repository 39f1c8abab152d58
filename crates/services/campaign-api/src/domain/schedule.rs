//! When a campaign runs, in its organisation's zone.

use carillon_calendar::{
    NOW, Occurrence, Schedule, instant_of, key_of, parse_once, pending_period,
};
use carillon_contracts::campaign::v1::{self as wire, Campaign, Validity, schedule::When};
use carillon_service_kit::status::FieldError;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::validity;

/// The local time of a schedule `once`.
pub(crate) fn once(campaign: &Campaign) -> Option<DateTime> {
    match Schedule::from_wire(campaign.schedule.as_ref()) {
        Ok(Schedule::Once(at)) => Some(at),
        Ok(Schedule::Now) | Err(_) => None,
    }
}

/// Names the first occurrence, as the scheduler does.
pub(crate) fn occurrence_key(campaign: &Campaign) -> String {
    once(campaign).map_or_else(|| NOW.to_owned(), key_of)
}

pub(crate) fn check(
    schedule: Option<&wire::Schedule>,
    valid: Option<&Validity>,
    errors: &mut Vec<FieldError>,
) {
    let (field, rule) = match schedule.and_then(|schedule| schedule.when.as_ref()) {
        None => (
            "schedule",
            "is missing; give schedule.now: true to send when it is started, or schedule.once: \
             2026-12-01T09:00"
                .to_owned(),
        ),
        Some(When::Now(false)) => ("schedule.now", "can only be true".to_owned()),
        Some(When::Now(true)) => return,
        Some(When::Once(text)) => match parse_once(text) {
            Ok(at) => match valid.and_then(|valid| validity::outside(valid, at.date())) {
                Some(rule) => ("schedule.once", rule),
                None => return,
            },
            Err(error) => ("schedule.once", error.to_string()),
        },
    };
    errors.push(FieldError::new(field, rule));
}

/// Why a start can't hold to the schedule any more, if it can't.
pub(crate) fn refusal(campaign: &Campaign, zone: &TimeZone, now: Timestamp) -> Option<String> {
    let at = once(campaign)?;
    let time = instant_of(at, zone);
    (time <= now).then(|| {
        let here = zone.to_datetime(now).strftime("%Y-%m-%dT%H:%M");
        let name = zone.iana_name().unwrap_or("UTC");
        format!(
            "schedule.once: {} is over, in {name} it is {here}; set a later time",
            at.strftime("%Y-%m-%dT%H:%M")
        )
    })
}

/// The times at which it runs from an instant on, within the days that it is valid on; one that is
/// sent at once would be started then.
pub(crate) fn next(
    campaign: &Campaign,
    zone: &TimeZone,
    from: Timestamp,
) -> impl Iterator<Item = Occurrence> + use<> {
    let schedule = once(campaign).map_or(Schedule::Now, Schedule::Once);
    let pending = pending_period(campaign.pending_period.as_ref());
    let valid = campaign.valid.clone().unwrap_or_default();
    let here = zone.clone();
    schedule.occurrences(zone, pending, from, from).filter(move |run| {
        let day = here.to_datetime(run.nominal).date();
        validity::outside(&valid, day).is_none()
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Campaign {
        let schedule = Some(wire::Schedule { when: Some(When::Once(text.into())) });
        Campaign { schedule, ..Campaign::default() }
    }

    fn instant(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    fn error(text: &str, from: &str, until: &str) -> Option<String> {
        let mut errors = Vec::new();
        let valid = Validity { from: from.into(), until: until.into() };
        check(at(text).schedule.as_ref(), Some(&valid), &mut errors);
        errors.first().map(ToString::to_string)
    }

    #[test]
    fn what_is_valid_no_more_does_not_run_next() {
        let now = Some(wire::Schedule { when: Some(When::Now(true)) });
        let valid = Some(Validity { from: String::new(), until: "2026-12-01".into() });
        let campaign = Campaign { schedule: now, valid, ..Campaign::default() };
        let runs = |from| next(&campaign, &zone("Europe/Amsterdam"), instant(from)).count();
        assert_eq!(runs("2026-12-01T22:59:00Z"), 1);
        assert_eq!(runs("2026-12-01T23:00:00Z"), 0, "there the day is over");
    }

    #[test]
    fn a_time_lies_within_the_days_of_the_campaign() {
        assert_eq!(error("2026-12-01T09:00", "", ""), None);
        assert_eq!(error("2026-12-01T09:00", "2026-12-01", "2026-12-01"), None);
        assert_eq!(
            error("2026-12-01T00:00", "2026-12-02", "").as_deref(),
            Some("schedule.once: 2026-12-01 lies before valid.from, 2026-12-02; move one of them")
        );
        assert_eq!(
            error("2026-12-01T23:59", "", "2026-11-30").as_deref(),
            Some("schedule.once: 2026-12-01 lies after valid.until, 2026-11-30; move one of them")
        );
    }

    #[test]
    fn what_is_no_local_time_is_refused_with_what_was_given() {
        for text in
            ["", "tomorrow", "2026-02-29T09:00", "2026-12-01T09:00Z", "2026-12-01T09:00+01:00"]
        {
            let error = error(text, "", "").expect("refused");
            assert!(error.starts_with(&format!("schedule.once: '{text}' is not")), "{error}");
        }
    }

    #[test]
    fn a_start_comes_before_its_time_where_the_organisation_is() {
        let (amsterdam, campaign) = (zone("Europe/Amsterdam"), at("2026-12-01T09:00"));
        assert_eq!(refusal(&campaign, &amsterdam, instant("2026-12-01T07:59:59Z")), None);
        assert_eq!(
            refusal(&campaign, &amsterdam, instant("2026-12-01T08:00:00Z")).as_deref(),
            Some(
                "schedule.once: 2026-12-01T09:00 is over, in Europe/Amsterdam it is \
                 2026-12-01T09:00; set a later time"
            )
        );
        assert_eq!(
            refusal(&Campaign::default(), &amsterdam, instant("2026-12-01T08:00:00Z")),
            None
        );
    }

    #[test]
    fn the_next_run_comes_with_its_deadline() {
        let amsterdam = zone("Europe/Amsterdam");
        let hours = Some(prost_types::Duration { seconds: 7_200, nanos: 0 });
        let campaign = Campaign { pending_period: hours, ..at("2026-03-29T02:30") };
        let found = |from| -> Vec<(Timestamp, Timestamp)> {
            next(&campaign, &amsterdam, from).map(|one| (one.nominal, one.deadline)).collect()
        };
        let expected = (instant("2026-03-29T01:00:00Z"), instant("2026-03-29T03:00:00Z"));
        assert_eq!(found(instant("2026-01-01T00:00:00Z")), [expected], "at the gap's end");
        assert_eq!(found(expected.0), [expected]);
        assert_eq!(found(expected.0 + SignedDuration::from_millis(1)), []);
    }

    #[test]
    fn at_once_is_from_then_on_for_a_day() {
        let from = instant("2026-12-01T08:00:00Z");
        let only = next(&Campaign::default(), &zone("UTC"), from).next().expect("one");
        assert_eq!((only.nominal, only.deadline), (from, from + SignedDuration::from_hours(24)));
    }
}
