//! Calendar dates as customers' records hold them: ISO 8601, `YYYY-MM-DD`.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// The newest date that it is anywhere on Earth (UTC+14): later ones lie in the future everywhere.
pub(crate) fn newest(now: Timestamp) -> Date {
    let ahead = now.checked_add(SignedDuration::from_hours(14)).unwrap_or(now);
    ahead.to_zoned(TimeZone::UTC).date()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateError {
    /// Not written as `YYYY-MM-DD`.
    Format,
    /// Written well, but no day of the calendar.
    Calendar,
}

pub(crate) fn parse(text: &str) -> Result<Date, DateError> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(DateError::Format);
    }
    let year = digits(&bytes[..4])?;
    let month = digits(&bytes[5..7])?;
    let day = digits(&bytes[8..])?;
    calendar(year, month, day)
}

/// A birthday: with its year, or `--MM-DD` without (ISO 8601:2000), which may be 29 February.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birthday {
    pub year: Option<i16>,
    /// Month × 100 + day.
    pub mmdd: i32,
}

impl Birthday {
    pub(crate) fn parse(text: &str) -> Result<Self, DateError> {
        let Some(rest) = text.strip_prefix("--") else {
            let date = parse(text)?;
            return Ok(Self { year: Some(date.year()), mmdd: mmdd(date) });
        };
        let bytes = rest.as_bytes();
        if bytes.len() != 5 || bytes[2] != b'-' {
            return Err(DateError::Format);
        }
        let leap_year = 2000;
        let date = calendar(leap_year, digits(&bytes[..2])?, digits(&bytes[3..])?)?;
        Ok(Self { year: None, mmdd: mmdd(date) })
    }
}

fn mmdd(date: Date) -> i32 {
    i32::from(date.month()) * 100 + i32::from(date.day())
}

fn calendar(year: i16, month: i16, day: i16) -> Result<Date, DateError> {
    let part = |value: i16| i8::try_from(value).map_err(|_| DateError::Calendar);
    Date::new(year, part(month)?, part(day)?).map_err(|_| DateError::Calendar)
}

fn digits(bytes: &[u8]) -> Result<i16, DateError> {
    bytes.iter().try_fold(0_i16, |value, byte| match byte {
        b'0'..=b'9' => Ok(value * 10 + i16::from(byte - b'0')),
        _ => Err(DateError::Format),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_shape_and_must_be_of_the_calendar() {
        assert_eq!(parse("2026-02-28"), Ok(jiff::civil::date(2026, 2, 28)));
        assert_eq!(parse("2026-02-30"), Err(DateError::Calendar));
        assert_eq!(parse("2026-99-01"), Err(DateError::Calendar));
        assert_eq!(parse("30/02/1990"), Err(DateError::Format));
        assert_eq!(parse("2026-2-28"), Err(DateError::Format));
        assert_eq!(parse("２０２６-01-01"), Err(DateError::Format));
    }

    #[test]
    fn a_birthday_may_lack_its_year_and_fall_on_29_february() {
        assert_eq!(Birthday::parse("--02-29"), Ok(Birthday { year: None, mmdd: 229 }));
        assert_eq!(Birthday::parse("1990-12-01"), Ok(Birthday { year: Some(1990), mmdd: 1201 }));
        assert_eq!(Birthday::parse("--02-30"), Err(DateError::Calendar));
        assert_eq!(Birthday::parse("1991-02-29"), Err(DateError::Calendar));
        assert_eq!(Birthday::parse("02-29"), Err(DateError::Format));
    }

    #[test]
    fn the_newest_date_is_that_of_the_line_islands() {
        let now: Timestamp = "2026-03-01T11:00:00Z".parse().expect("valid");
        assert_eq!(newest(now), jiff::civil::date(2026, 3, 2));
    }
}
