//! Schedules and the occurrences that follow from them.

use carillon_contracts::{
    campaign::v1::{self as wire, schedule::When},
    limits::PENDING_PERIOD_DEFAULT_SECONDS,
    time,
};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::{CalendarError, deadline, instant_of, key_of, parse_once};

/// The occurrence key of a campaign that is started at once: it runs once, however often it is
/// started.
pub const NOW: &str = "now";

/// When a campaign is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// At once when it is started.
    Now,
    /// Once, at this local time.
    Once(DateTime),
}

/// One time at which a campaign is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Its name within the campaign: the nominal local time, or "now".
    pub key: String,
    pub nominal: Timestamp,
    /// Nothing is sent later.
    pub deadline: Timestamp,
    /// The local date of the nominal time, as YYYYMMDD.
    pub run_day: i32,
}

impl Schedule {
    /// A campaign without a schedule is due at once.
    pub fn from_wire(schedule: Option<&wire::Schedule>) -> Result<Self, CalendarError> {
        match schedule.and_then(|schedule| schedule.when.as_ref()) {
            None | Some(When::Now(_)) => Ok(Self::Now),
            Some(When::Once(text)) => parse_once(text).map(Self::Once),
        }
    }

    /// The key of the first occurrence, whatever the zone.
    pub fn first_key(&self) -> String {
        match self {
            Self::Now => NOW.to_owned(),
            Self::Once(local) => key_of(*local),
        }
    }

    /// The occurrences from `from` on, the first one first. `started` is when the campaign was, or
    /// would be, started.
    pub fn occurrences(
        &self,
        zone: &TimeZone,
        pending: SignedDuration,
        started: Timestamp,
        from: Timestamp,
    ) -> impl Iterator<Item = Occurrence> + use<> {
        let nominal = match self {
            Self::Now => started,
            Self::Once(local) => instant_of(*local, zone),
        };
        let only = Occurrence {
            key: self.first_key(),
            nominal,
            deadline: deadline(nominal, pending),
            run_day: time::run_day(zone.to_datetime(nominal).date()),
        };
        (nominal >= from).then_some(only).into_iter()
    }
}

/// How long a message is tried: 24 hours where the campaign does not say.
pub fn pending_period(set: Option<&prost_types::Duration>) -> SignedDuration {
    set.map_or(SignedDuration::from_secs(PENDING_PERIOD_DEFAULT_SECONDS), time::duration_from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    fn now(nominal: &str, hours: i64, zone_name: &str) -> Occurrence {
        let (zone, nominal) = (zone(zone_name).expect("a zone"), at(nominal));
        let pending = SignedDuration::from_hours(hours);
        let mut all = Schedule::Now.occurrences(&zone, pending, nominal, nominal);
        all.next().expect("one")
    }

    fn once(text: &str) -> Schedule {
        let when = Some(When::Once(text.into()));
        Schedule::from_wire(Some(&wire::Schedule { when })).expect("a schedule")
    }

    #[test]
    fn the_run_day_is_the_date_where_the_organisation_is() {
        let late = "2026-11-30T23:30:00Z";
        assert_eq!(now(late, 24, "UTC").run_day, 20_261_130);
        assert_eq!(now(late, 24, "Europe/Amsterdam").run_day, 20_261_201);
        assert_eq!(now(late, 24, "America/New_York").run_day, 20_261_130);
        assert_eq!(now("2026-12-01T03:00:00Z", 24, "America/New_York").run_day, 20_261_130);
    }

    #[test]
    fn the_deadline_counts_elapsed_hours_also_over_a_clock_change() {
        let over_the_gap = now("2026-03-28T12:00:00Z", 24, "Europe/Amsterdam");
        assert_eq!(over_the_gap.deadline, at("2026-03-29T12:00:00Z"));
    }

    #[test]
    fn once_is_due_at_its_local_time_under_its_local_name() {
        let zone = zone("Europe/Amsterdam").expect("a zone");
        let (schedule, pending) = (once("2026-12-01T00:30"), SignedDuration::from_hours(12));
        let started = at("2026-11-01T10:00:00Z");
        let expected = Occurrence {
            key: "2026-12-01T00:30".into(),
            nominal: at("2026-11-30T23:30:00Z"),
            deadline: at("2026-12-01T11:30:00Z"),
            run_day: 20_261_201,
        };
        let all = |from| schedule.occurrences(&zone, pending, started, from).collect::<Vec<_>>();
        assert_eq!(all(started), std::slice::from_ref(&expected));
        assert_eq!(all(expected.nominal), std::slice::from_ref(&expected));
        assert!(all(expected.nominal + SignedDuration::from_millis(1)).is_empty());
    }

    #[test]
    fn without_a_schedule_a_campaign_is_due_at_once() {
        assert_eq!(Schedule::from_wire(None), Ok(Schedule::Now));
        assert_eq!(Schedule::from_wire(Some(&wire::Schedule { when: None })), Ok(Schedule::Now));
        let wrong = wire::Schedule { when: Some(When::Once("soon".into())) };
        assert_eq!(Schedule::from_wire(Some(&wrong)), Err(CalendarError::LocalTime("soon".into())));
    }

    #[test]
    fn a_pending_period_that_is_not_set_is_a_day() {
        assert_eq!(pending_period(None), SignedDuration::from_hours(24));
        let set = prost_types::Duration { seconds: 60, nanos: 0 };
        assert_eq!(pending_period(Some(&set)), SignedDuration::from_secs(60));
    }
}
