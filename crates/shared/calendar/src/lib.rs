//! When campaigns are due: local times in a zone, their instants, and their deadlines. Pure rules:
//! what it is now is told, never asked.

mod local;
mod schedule;

use jiff::{SignedDuration, Timestamp};

pub use jiff::tz::TimeZone as Zone;
pub use local::{instant_of, key_of, parse_once, zone};
pub use schedule::{NOW, Occurrence, Schedule, pending_period};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    #[error(
        "'{0}' is not a local date and time; give one without an offset, such as 2026-12-01T09:00, \
         which counts in the organisation's zone"
    )]
    LocalTime(String),
    #[error("'{0}' is not an IANA time zone; give one such as Europe/Amsterdam")]
    Zone(String),
}

/// After which nothing is sent. Elapsed time counts, also over a change of the clock.
pub fn deadline(nominal: Timestamp, pending: SignedDuration) -> Timestamp {
    nominal.saturating_add(pending).unwrap_or(Timestamp::MAX)
}
