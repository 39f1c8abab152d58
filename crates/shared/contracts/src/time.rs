//! Instants: `jiff::Timestamp` in code, milliseconds in tables, `google.protobuf.Timestamp` on the wire.

use jiff::{SignedDuration, Timestamp, civil::Date};

pub fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// `None` where the wire's value is outside what a timestamp can hold.
pub fn from_wire(at: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).ok()
}

pub fn duration_to_wire(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

pub fn duration_from_wire(duration: &prost_types::Duration) -> SignedDuration {
    SignedDuration::new(duration.seconds, duration.nanos)
}

/// A run's day as the number YYYYMMDD.
pub fn run_day(date: Date) -> i32 {
    i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_the_wire() {
        let at = Timestamp::from_millisecond(-1_234_567).expect("in range");
        assert_eq!(from_wire(&to_wire(at)), Some(at));
    }

    #[test]
    fn a_run_day_reads_like_a_date() {
        assert_eq!(run_day(jiff::civil::date(2026, 2, 9)), 20_260_209);
    }
}
