use carillon_contracts::{limits::PENDING_PERIOD_DEFAULT_SECONDS, time};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// The occurrence key of a campaign that was started at once: it runs once, however often it is
/// started.
pub(crate) const NOW: &str = "now";

/// One time at which a campaign is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub nominal: Timestamp,
    /// Nothing is sent later.
    pub deadline: Timestamp,
    /// The local date of the nominal time, as YYYYMMDD.
    pub run_day: i32,
}

impl Occurrence {
    /// Of a campaign that was started at once at `nominal`, in the organisation's zone. Its
    /// deadline counts from the nominal time, however late the tick is.
    pub(crate) fn at_once(nominal: Timestamp, pending: SignedDuration, zone: &TimeZone) -> Self {
        let deadline = nominal.saturating_add(pending).unwrap_or(Timestamp::MAX);
        let run_day = time::run_day(zone.to_datetime(nominal).date());
        Self { nominal, deadline, run_day }
    }

    /// Nothing of it could still be sent.
    pub(crate) fn is_missed(&self, now: Timestamp) -> bool {
        now >= self.deadline
    }
}

/// How long a message is tried: 24 hours where the campaign does not say.
pub(crate) fn pending_period(set: Option<&prost_types::Duration>) -> SignedDuration {
    set.map_or(SignedDuration::from_secs(PENDING_PERIOD_DEFAULT_SECONDS), time::duration_from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(nominal: &str, hours: i64, zone: &str) -> Occurrence {
        let zone = TimeZone::get(zone).expect("a zone");
        let nominal = nominal.parse().expect("a timestamp");
        Occurrence::at_once(nominal, SignedDuration::from_hours(hours), &zone)
    }

    #[test]
    fn the_run_day_is_the_date_where_the_organisation_is() {
        let late = "2026-11-30T23:30:00Z";
        assert_eq!(occurrence(late, 24, "UTC").run_day, 20_261_130);
        assert_eq!(occurrence(late, 24, "Europe/Amsterdam").run_day, 20_261_201);
        assert_eq!(occurrence(late, 24, "America/New_York").run_day, 20_261_130);
        assert_eq!(occurrence("2026-12-01T03:00:00Z", 24, "America/New_York").run_day, 20_261_130);
    }

    #[test]
    fn the_deadline_counts_elapsed_hours_also_over_a_clock_change() {
        let over_the_gap = occurrence("2026-03-28T12:00:00Z", 24, "Europe/Amsterdam");
        assert_eq!(over_the_gap.deadline, "2026-03-29T12:00:00Z".parse().expect("a timestamp"));
    }

    #[test]
    fn an_occurrence_is_missed_from_its_deadline_on() {
        let one = occurrence("2026-11-30T10:00:00Z", 12, "UTC");
        let before = one.deadline - SignedDuration::from_millis(1);
        assert_eq!([before, one.deadline].map(|now| one.is_missed(now)), [false, true]);
    }

    #[test]
    fn a_pending_period_that_is_not_set_is_a_day() {
        assert_eq!(pending_period(None), SignedDuration::from_hours(24));
        let set = prost_types::Duration { seconds: 60, nanos: 0 };
        assert_eq!(pending_period(Some(&set)), SignedDuration::from_secs(60));
    }
}
