//! When a campaign fires: a plain rule over instants.

use carillon_calendar::{Occurrence, deadline};
use jiff::{SignedDuration, Timestamp};

/// An occurrence that could not fire for longer than this is missed: nobody expects it any more.
const CATCH_UP: SignedDuration = SignedDuration::from_hours(24);

/// What becomes of an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not due before this.
    Wait(Timestamp),
    Fire,
    /// It is reported and never sent.
    Miss,
}

/// A pause does not stop the deadline, but what was held up by one is not late for that.
pub(crate) fn judge(
    occurrence: &Occurrence,
    resumed: Option<Timestamp>,
    now: Timestamp,
) -> Verdict {
    let Occurrence { nominal, deadline: last, .. } = *occurrence;
    let awaited = resumed.map_or(nominal, |resumed| resumed.max(nominal));
    if now < nominal {
        Verdict::Wait(nominal)
    } else if now >= last || now > deadline(awaited, CATCH_UP) {
        Verdict::Miss
    } else {
        Verdict::Fire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    /// Due at 10:00, with a pending period of so many hours.
    fn occurrence(pending: i64) -> Occurrence {
        let nominal: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a timestamp");
        let last = deadline(nominal, hours(pending));
        Occurrence { key: "now".into(), nominal, deadline: last, run_day: 20_261_130 }
    }

    #[test]
    fn it_fires_from_its_time_on_until_its_deadline() {
        let (one, tick) = (occurrence(12), SignedDuration::from_millis(1));
        let at = |now| judge(&one, None, now);
        assert_eq!(at(one.nominal - tick), Verdict::Wait(one.nominal));
        assert_eq!(at(one.nominal), Verdict::Fire);
        assert_eq!(at(one.deadline - tick), Verdict::Fire);
        assert_eq!(at(one.deadline), Verdict::Miss);
    }

    #[test]
    fn it_is_missed_after_the_catch_up_window_though_its_deadline_lies_ahead() {
        let one = occurrence(7 * 24);
        let last = one.nominal + CATCH_UP;
        assert_eq!(judge(&one, None, last), Verdict::Fire);
        assert_eq!(judge(&one, None, last + SignedDuration::from_millis(1)), Verdict::Miss);
    }

    #[test]
    fn a_pause_counts_against_the_deadline_and_not_against_the_catch_up_window() {
        let one = occurrence(7 * 24);
        let resumed = one.nominal + hours(6 * 24);
        assert_eq!(judge(&one, Some(resumed), resumed + hours(1)), Verdict::Fire);
        assert_eq!(judge(&one, Some(resumed), one.deadline), Verdict::Miss);
        let early = one.nominal - hours(48);
        assert_eq!(judge(&one, Some(early), one.nominal + hours(24)), Verdict::Fire);
    }
}
