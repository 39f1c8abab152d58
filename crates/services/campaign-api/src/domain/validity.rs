//! The days on which a campaign may start, in the organisation's zone.

use carillon_contracts::campaign::v1::Validity;
use carillon_service_kit::status::FieldError;
use jiff::civil::Date;

/// `YYYY-MM-DD` and nothing else.
fn parse(text: &str) -> Option<Date> {
    let dashes = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    text.parse().ok().filter(|_| dashes)
}

pub(crate) fn check(valid: &Validity, errors: &mut Vec<FieldError>) {
    let mut date = |field: &str, text: &str| {
        let date = parse(text);
        if date.is_none() && !text.is_empty() {
            let shown: String = text.chars().take(40).collect();
            let rule = format!(
                "'{shown}' is not a date of the calendar; give YYYY-MM-DD, such as 2026-11-30"
            );
            errors.push(FieldError::new(field, rule));
        }
        date
    };
    let (from, until) = (date("valid.from", &valid.from), date("valid.until", &valid.until));
    if let (Some(from), Some(until)) = (from, until)
        && until < from
    {
        let rule = format!("{until} is an end before its beginning, {from}; swap them or move one");
        errors.push(FieldError::new("valid.until", rule));
    }
}

/// Why a day is none of them, if it is none.
pub(crate) fn outside(valid: &Validity, day: Date) -> Option<String> {
    if let Some(from) = parse(&valid.from)
        && day < from
    {
        return Some(format!("{day} lies before valid.from, {from}; move one of them"));
    }
    let until = parse(&valid.until).filter(|until| *until < day)?;
    Some(format!("{day} lies after valid.until, {until}; move one of them"))
}

/// Why a campaign can't start today, if it can't.
pub(crate) fn refusal(valid: &Validity, today: Date, zone: &str) -> Option<String> {
    if let Some(from) = parse(&valid.from)
        && today < from
    {
        return Some(format!(
            "valid.from: the campaign is valid from {from}, and in {zone} it is {today}; start it \
             then, or set an earlier valid.from"
        ));
    }
    let until = parse(&valid.until).filter(|until| *until < today)?;
    Some(format!(
        "valid.until: the campaign was valid until {until}, and in {zone} it is {today}; set a \
         later valid.until"
    ))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn valid(from: &str, until: &str) -> Validity {
        Validity { from: from.into(), until: until.into() }
    }

    fn errors(from: &str, until: &str) -> Vec<String> {
        let mut errors = Vec::new();
        check(&valid(from, until), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn open_ends_and_one_day_are_valid() {
        for (from, until) in
            [("", ""), ("2026-11-30", ""), ("", "2026-11-30"), ("2026-11-30", "2026-11-30")]
        {
            assert_eq!(errors(from, until), [""; 0]);
        }
    }

    #[test]
    fn what_is_not_a_day_is_refused() {
        for text in ["2026-02-29", "30-11-2026", "20261130", "2026-11-30T10:00", "tomorrow"] {
            assert_eq!(
                errors(text, ""),
                [format!(
                    "valid.from: '{text}' is not a date of the calendar; give YYYY-MM-DD, such as 2026-11-30"
                )]
            );
        }
    }

    #[test]
    fn an_end_before_its_beginning_is_refused() {
        assert_eq!(
            errors("2026-12-01", "2026-11-30"),
            [
                "valid.until: 2026-11-30 is an end before its beginning, 2026-12-01; swap them or move one"
            ]
        );
    }

    #[test]
    fn both_ends_are_included() {
        let period = valid("2026-11-01", "2026-11-30");
        let refused = |day| refusal(&period, date(2026, 11, day), "UTC").is_some();
        assert_eq!([1, 15, 30].map(refused), [false; 3]);
        assert!(refusal(&period, date(2026, 10, 31), "UTC").is_some());
        assert_eq!(
            refusal(&period, date(2026, 12, 1), "Asia/Tokyo").as_deref(),
            Some(
                "valid.until: the campaign was valid until 2026-11-30, and in Asia/Tokyo it is \
                 2026-12-01; set a later valid.until"
            )
        );
    }
}
