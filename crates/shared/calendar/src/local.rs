//! Local times of a zone and the instants they name.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::CalendarError;

const MINUTES: &str = "%Y-%m-%dT%H:%M";
const SECONDS: &str = "%Y-%m-%dT%H:%M:%S";

/// A local time without an offset: `2026-12-01T09:00`, or with seconds.
pub fn parse_once(text: &str) -> Result<DateTime, CalendarError> {
    let parsed = [MINUTES, SECONDS].into_iter().find_map(|format| {
        let parsed = DateTime::strptime(format, text).ok()?;
        (parsed.strftime(format).to_string() == text).then_some(parsed)
    });
    parsed.ok_or_else(|| CalendarError::LocalTime(text.chars().take(64).collect()))
}

/// The nominal local time as text, which names an occurrence. However it was written, the same
/// time has the same key.
pub fn key_of(local: DateTime) -> String {
    let format = if local.second() == 0 { MINUTES } else { SECONDS };
    local.strftime(format).to_string()
}

/// An IANA zone by its name.
pub fn zone(name: &str) -> Result<TimeZone, CalendarError> {
    TimeZone::get(name).map_err(|_| CalendarError::Zone(name.chars().take(64).collect()))
}

/// The first instant at which the zone's clocks show this time or a later one: in a gap its end, in
/// an overlap the first pass.
pub fn instant_of(local: DateTime, zone: &TimeZone) -> Timestamp {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    // Counted back from the offset after a gap, the time lies just before the gap.
    let found = if gap { ambiguous.earlier() } else { ambiguous.compatible() };
    match found {
        Ok(before) if gap => {
            zone.following(before).next().map_or(before, |change| change.timestamp())
        }
        Ok(instant) => instant,
        // At the ends of what a timestamp can hold.
        Err(_) if local.year() < 0 => Timestamp::MIN,
        Err(_) => Timestamp::MAX,
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, tz::Offset};
    use proptest::prelude::*;

    use super::*;

    fn at(zone: &str, local: &str) -> String {
        let zone = TimeZone::get(zone).expect("a zone");
        instant_of(parse_once(local).expect("a local time"), &zone).to_string()
    }

    #[test]
    fn a_local_time_fires_when_the_clocks_show_it() {
        assert_eq!(at("Europe/Amsterdam", "2026-12-01T09:00"), "2026-12-01T08:00:00Z");
        assert_eq!(at("Asia/Kolkata", "2026-12-01T09:00:30"), "2026-12-01T03:30:30Z");
    }

    #[test]
    fn in_a_gap_it_fires_at_the_gap_s_end() {
        for local in ["2026-03-29T02:00", "2026-03-29T02:30", "2026-03-29T02:59"] {
            assert_eq!(at("Europe/Amsterdam", local), "2026-03-29T01:00:00Z", "{local}");
        }
        assert_eq!(at("Europe/Amsterdam", "2026-03-29T03:00"), "2026-03-29T01:00:00Z");
        // Half an hour of Lord Howe Island, and a whole day of Samoa.
        assert_eq!(at("Australia/Lord_Howe", "2026-10-04T02:10"), "2026-10-03T15:30:00Z");
        assert_eq!(at("Pacific/Apia", "2011-12-30T09:00"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn in_an_overlap_it_fires_at_the_first_pass() {
        assert_eq!(at("Europe/Amsterdam", "2026-10-25T02:30"), "2026-10-25T00:30:00Z");
        assert_eq!(at("America/New_York", "2026-11-01T01:00"), "2026-11-01T05:00:00Z");
    }

    #[test]
    fn what_is_no_local_time_is_refused_with_a_remedy() {
        for text in [
            "",
            "2026-12-01",
            "09:00",
            "2026-12-01 09:00",
            "2026-12-01T9:00",
            "2026-12-01T09:00Z",
            "2026-12-01T09:00+01:00",
            "2026-12-01T09:00[Europe/Amsterdam]",
            "2026-02-30T09:00",
            "2026-12-01T24:00",
            "2026-12-01T09:00:60",
            "2026-12-01T09:00 ",
        ] {
            assert_eq!(parse_once(text), Err(CalendarError::LocalTime(text.into())));
        }
        assert_eq!(
            parse_once("tomorrow").expect_err("refused").to_string(),
            "'tomorrow' is not a local date and time; give one without an offset, such as \
             2026-12-01T09:00, which counts in the organisation's zone"
        );
        assert_eq!(zone("Mars/Olympus"), Err(CalendarError::Zone("Mars/Olympus".into())));
    }

    #[test]
    fn a_time_has_one_key_however_it_is_written() {
        let key = |text| key_of(parse_once(text).expect("a local time"));
        assert_eq!(key("2026-12-01T09:00:00"), "2026-12-01T09:00");
        assert_eq!(key("2026-12-01T09:00"), "2026-12-01T09:00");
        assert_eq!(key("2026-12-01T09:00:07"), "2026-12-01T09:00:07");
    }

    fn zones() -> impl Strategy<Value = TimeZone> {
        let names: Vec<String> =
            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        prop::sample::select(names).prop_map(|name| TimeZone::get(&name).expect("a zone"))
    }

    /// Local times from 1970 to 2100, half of them within three hours of a change of the clock.
    fn zoned_times() -> impl Strategy<Value = (TimeZone, DateTime)> {
        let second = 0_i64..4_102_444_800;
        (zones(), second, any::<bool>(), -10_800_i64..10_800).prop_map(
            |(zone, second, near, by)| {
                let at = Timestamp::from_second(second).expect("in range");
                let change = zone.following(at).next().filter(|_| near);
                let at = change.map_or(at, |change| change.timestamp());
                let local = Offset::UTC.to_datetime(at + zone_offset(&zone, at));
                let local = local + SignedDuration::from_secs(by);
                (zone, local)
            },
        )
    }

    fn zone_offset(zone: &TimeZone, at: Timestamp) -> SignedDuration {
        SignedDuration::from_secs(zone.to_offset(at).seconds().into())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_first_instant_whose_clocks_show_that_time_or_a_later_one(
            (zone, local) in zoned_times()
        ) {
            let instant = instant_of(local, &zone);
            prop_assert!(zone.to_datetime(instant) >= local);
            for back in [1, 60, 600, 1_800, 3_599, 3_600, 7_200, 86_399] {
                let earlier = instant - SignedDuration::from_secs(back);
                prop_assert!(zone.to_datetime(earlier) < local, "{back} s earlier");
            }
        }

        #[test]
        fn a_local_time_survives_its_text((_, local) in zoned_times()) {
            let again = parse_once(&key_of(local)).expect("a local time");
            prop_assert_eq!(key_of(again), key_of(local));
            prop_assert_eq!(again, local);
        }
    }
}
