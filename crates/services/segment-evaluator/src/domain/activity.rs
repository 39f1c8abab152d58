//! What a customer did: checks of one activity.

use carillon_contracts::{audience::v1::Activity, time};
use jiff::Timestamp;

use super::{check, fault::Fault};

const EVENT_ID_LENGTH: usize = 64;
/// A source's clock may be a little ahead.
const AHEAD_MS: i64 = 5 * 60 * 1000;
/// Ten-thousandths in one.
pub(crate) const SCALE: i64 = 10_000;
const MOST: i64 = 1_000_000_000 * SCALE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Purchase,
    Refund,
    Visit,
    Session,
    Review,
    Points,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Purchase, Self::Refund, Self::Visit, Self::Session, Self::Review, Self::Points];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Refund => "refund",
            Self::Visit => "visit",
            Self::Session => "session",
            Self::Review => "review",
            Self::Points => "points",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub event_id: String,
    pub external_id: String,
    pub kind: Kind,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Ten-thousandths: money, or points.
    pub amount: Option<i64>,
    /// `positive`, `negative`, or empty.
    pub rating: String,
}

impl Checked {
    /// What the balance of points rises by.
    pub(crate) fn points(&self) -> i64 {
        match self.kind {
            Kind::Points => self.amount.unwrap_or_default() / SCALE,
            _ => 0,
        }
    }
}

/// The first fault of the activity, or its values.
pub(crate) fn check(activity: Activity, now: Timestamp) -> Result<Checked, Fault> {
    event_id(&activity.event_id)?;
    check::external_id(&activity.external_id)?;
    let kind =
        Kind::ALL.into_iter().find(|kind| kind.word() == activity.kind).ok_or_else(|| {
            let message =
                "is unknown; purchase, refund, visit, session, review or points is expected";
            Fault::new("kind", "kind_unknown", message)
        })?;
    let at = at(activity.at.as_ref(), now)?;
    let amount = amount(kind, activity.amount.trim())?;
    rating(kind, &activity.rating)?;
    Ok(Checked {
        event_id: activity.event_id,
        external_id: activity.external_id,
        kind,
        at,
        amount,
        rating: activity.rating,
    })
}

fn event_id(id: &str) -> Result<(), Fault> {
    let fault = |reason, message| Err(Fault::new("event_id", reason, message));
    if id.trim().is_empty() {
        return fault("event_id_missing", "is missing; give the source's own id of the event");
    }
    if id.chars().count() > EVENT_ID_LENGTH {
        return fault("event_id_too_long", "is too long; 64 characters are allowed");
    }
    if id.contains(char::is_control) {
        return fault("event_id_invalid", "holds a control character; remove it");
    }
    Ok(())
}

fn at(at: Option<&prost_types::Timestamp>, now: Timestamp) -> Result<i64, Fault> {
    let at = at.ok_or_else(|| {
        let message = "is missing; give the time as 2026-11-23T09:00:00Z";
        Fault::new("at", "at_missing", message)
    })?;
    let at = time::from_wire(at).ok_or_else(|| {
        let message = "is not a time; write it as 2026-11-23T09:00:00Z (RFC 3339)";
        Fault::new("at", "at_not_a_time", message)
    })?;
    if at.as_millisecond() > now.as_millisecond() + AHEAD_MS {
        let message = "lies more than 5 minutes in the future; correct it";
        return Err(Fault::new("at", "at_in_future", message));
    }
    Ok(at.as_millisecond())
}

fn amount(kind: Kind, text: &str) -> Result<Option<i64>, Fault> {
    let fault = |reason, message| Err(Fault::new("amount", reason, message));
    if text.is_empty() {
        return match kind {
            Kind::Purchase | Kind::Refund | Kind::Points => {
                fault("amount_missing", "is missing; this kind of activity needs one")
            }
            Kind::Visit | Kind::Session | Kind::Review => Ok(None),
        };
    }
    let value = match decimal(text) {
        Ok(value) => value,
        Err(DecimalError::Shape) => {
            return fault("amount_not_a_number", "is not a number; write it as 12.50");
        }
        Err(DecimalError::Places) if kind != Kind::Points => {
            return fault("amount_too_precise", "has more than 4 decimal places; round it");
        }
        Err(DecimalError::Places) => None,
    };
    if kind == Kind::Points && text.contains('.') {
        return fault("points_not_whole", "is not a whole number of points; give one");
    }
    match value {
        Some(value) if value < 0 && kind != Kind::Points => {
            fault("amount_negative", "is negative; record money given back as a refund")
        }
        Some(value) if (-MOST..=MOST).contains(&value) => Ok(Some(value)),
        _ => fault("amount_out_of_range", "is out of range; 1,000,000,000 at most is allowed"),
    }
}

fn rating(kind: Kind, rating: &str) -> Result<(), Fault> {
    let fault = |reason, message| Err(Fault::new("rating", reason, message));
    match rating {
        "positive" | "negative" => Ok(()),
        "" if kind == Kind::Review => {
            fault("rating_missing", "is missing; a review is positive or negative")
        }
        "" => Ok(()),
        _ => fault("rating_unknown", "is unknown; positive or negative is expected"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum DecimalError {
    Shape,
    Places,
}

/// Ten-thousandths; `None` where it is larger than 64 bits hold.
fn decimal(text: &str) -> Result<Option<i64>, DecimalError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(places) {
        return Err(DecimalError::Shape);
    }
    if places.len() > 4 {
        return Err(DecimalError::Places);
    }
    let value = format!("{whole}{places:0<4}").parse::<i64>().ok();
    Ok(value.map(|value| if negative { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().expect("valid")
    }

    fn purchase() -> Activity {
        Activity {
            event_id: "E1".into(),
            external_id: "C1".into(),
            kind: "purchase".into(),
            at: Some(time::to_wire(now())),
            amount: "9.90".into(),
            rating: String::new(),
        }
    }

    fn reason(activity: Activity) -> String {
        check(activity, now()).map_or_else(|fault| fault.reason.into(), |_| "accepted".into())
    }

    fn of(kind: &str, amount: &str, rating: &str) -> Activity {
        Activity { kind: kind.into(), amount: amount.into(), rating: rating.into(), ..purchase() }
    }

    #[test]
    fn each_fault_has_its_reason() {
        assert_eq!(reason(purchase()), "accepted");
        assert_eq!(reason(Activity { event_id: "".into(), ..purchase() }), "event_id_missing");
        let long = Activity { event_id: "x".repeat(65), ..purchase() };
        assert_eq!(reason(long), "event_id_too_long");
        assert_eq!(reason(Activity { at: None, ..purchase() }), "at_missing");
        let torn = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(reason(Activity { at: Some(torn), ..purchase() }), "at_not_a_time");
        assert_eq!(reason(of("teleport", "", "")), "kind_unknown");
        assert_eq!(reason(of("purchase", "", "")), "amount_missing");
        assert_eq!(reason(of("purchase", "twelve", "")), "amount_not_a_number");
        assert_eq!(reason(of("purchase", "1.23456", "")), "amount_too_precise");
        assert_eq!(reason(of("purchase", "99999999999999999999.99", "")), "amount_out_of_range");
        assert_eq!(reason(of("purchase", "1000000000.01", "")), "amount_out_of_range");
        assert_eq!(reason(of("purchase", "-5.00", "")), "amount_negative");
        assert_eq!(reason(of("points", "1.5", "")), "points_not_whole");
        assert_eq!(reason(of("points", "-1.123456", "")), "points_not_whole");
        assert_eq!(reason(of("review", "", "")), "rating_missing");
        assert_eq!(reason(of("review", "", "meh")), "rating_unknown");
    }

    #[test]
    fn a_source_may_be_five_minutes_ahead() {
        let ahead = |seconds| {
            let at = now() + jiff::SignedDuration::from_secs(seconds);
            reason(Activity { at: Some(time::to_wire(at)), ..purchase() })
        };
        assert_eq!(ahead(300), "accepted");
        assert_eq!(ahead(301), "at_in_future");
    }

    #[test]
    fn points_are_a_signed_difference() {
        let points = check(of("points", "-30", ""), now()).expect("accepted");
        assert_eq!((points.points(), points.amount), (-30, Some(-300_000)));
        assert_eq!(check(purchase(), now()).expect("accepted").points(), 0);
    }

    proptest! {
        #[test]
        fn amounts_are_exact(whole in 0_i64..1_000_000_000, places in 0_i64..10_000) {
            let value = decimal(&format!("{whole}.{places:04}"));
            prop_assert_eq!(value, Ok(Some(whole * SCALE + places)));
        }

        #[test]
        fn no_amount_makes_it_panic(text in "[-+.0-9e]{0,30}") {
            let _ = decimal(&text);
        }
    }
}
