//! What an organisation may be set to.

use std::collections::BTreeSet;

use carillon_contracts::campaign::v1::{ConsentDefault, Organisation};
use carillon_service_kit::status::FieldError;
use jiff::tz::{self, TimeZone};

use super::{
    check_name,
    nearest::nearest,
    region::{is_market, is_region},
};

const MOST_CREDITS: i64 = 1_000_000_000;
/// Credits for one part.
const MOST_RATE: u32 = 100;

/// The settings that an update may name.
pub(crate) const SETTABLE: &[&str] = &[
    "name",
    "time_zone",
    "default_region",
    "consent_default",
    "require_consent",
    "subscribe_default",
    "double_opt_in",
    "low_balance",
    "paused",
    "markets",
    "rates",
];

/// The same settings without what only the service sets.
pub(crate) fn settings(given: Organisation) -> Organisation {
    Organisation {
        id: String::new(),
        create_time: None,
        replies_url: String::new(),
        in_effect: None,
        standby_replies_url: String::new(),
        ..given
    }
}

/// `current` with the named settings of `given`.
pub(crate) fn merged(
    current: &Organisation,
    given: Organisation,
    paths: &[&'static str],
) -> Organisation {
    let mut merged = current.clone();
    for path in paths {
        match *path {
            "name" => merged.name.clone_from(&given.name),
            "time_zone" => merged.time_zone.clone_from(&given.time_zone),
            "default_region" => merged.default_region.clone_from(&given.default_region),
            "consent_default" => merged.consent_default = given.consent_default,
            "require_consent" => merged.require_consent = given.require_consent,
            "subscribe_default" => merged.subscribe_default = given.subscribe_default,
            "double_opt_in" => merged.double_opt_in = given.double_opt_in,
            "low_balance" => merged.low_balance = given.low_balance,
            "markets" => merged.markets.clone_from(&given.markets),
            "rates" => merged.rates.clone_from(&given.rates),
            _ => merged.paused = given.paused,
        }
    }
    merged
}

/// The organisation as it is stored: its zone under the zone's own name, its markets in order, and
/// every setting said.
///
/// # Errors
/// Every wrong field.
pub(crate) fn checked(given: Organisation) -> Result<Organisation, Vec<FieldError>> {
    let mut errors = Vec::new();
    check_name(&given.name, &mut errors);
    let time_zone = check_zone(&given.time_zone, &mut errors);
    if !given.default_region.is_empty() {
        check_region("default_region", &given.default_region, is_region, &mut errors);
    }
    for market in &given.markets {
        check_region("markets", market, is_market, &mut errors);
    }
    for (market, rate) in &given.rates {
        check_region("rates", market, is_market, &mut errors);
        if !(1..=MOST_RATE).contains(rate) {
            let shown: String = market.chars().take(40).collect();
            let rule = format!(
                "{rate} for '{shown}' is not from 1 to {MOST_RATE}; give the credits that a part \
                 costs"
            );
            errors.push(FieldError::new("rates", rule));
        }
    }
    let consent = match ConsentDefault::try_from(given.consent_default) {
        Ok(ConsentDefault::Unspecified) => ConsentDefault::NotSpecified,
        Ok(known) => known,
        Err(_) => {
            let number = given.consent_default;
            let rule = format!("{number} is not a consent; give NOT_SPECIFIED or GIVEN");
            errors.push(FieldError::new("consent_default", rule));
            ConsentDefault::NotSpecified
        }
    };
    if !(0..=MOST_CREDITS).contains(&given.low_balance) {
        let rule = format!(
            "{} is not from 0 to {MOST_CREDITS}; give credits, or 0 for no alert",
            given.low_balance
        );
        errors.push(FieldError::new("low_balance", rule));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let markets: BTreeSet<String> = given.markets.into_iter().collect();
    let markets = markets.into_iter().collect();
    Ok(Organisation { time_zone, consent_default: consent.into(), markets, ..given })
}

fn check_zone(name: &str, errors: &mut Vec<FieldError>) -> String {
    let found = TimeZone::get(name).ok();
    if let Some(name) = found.as_ref().and_then(TimeZone::iana_name) {
        return name.to_owned();
    }
    let example = "give an IANA time zone, such as Europe/Amsterdam";
    let shown: String = name.chars().take(64).collect();
    let rule = if name.is_empty() {
        format!("is missing; {example}")
    } else if let Some(meant) = nearest_zone(name) {
        format!("'{shown}' is not an IANA time zone; did you mean '{meant}'?")
    } else {
        format!("'{shown}' is not an IANA time zone; {example}")
    };
    errors.push(FieldError::new("time_zone", rule));
    String::new()
}

/// A city's zone by the city alone, or else the zone with the fewest slips.
fn nearest_zone(given: &str) -> Option<String> {
    let names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
    let names = || names.iter().map(String::as_str);
    let typed = given.trim().replace(' ', "_");
    let city = |name: &&str| {
        name.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&typed))
    };
    names().find(city).or_else(|| nearest(&typed, names())).map(str::to_owned)
}

fn check_region(field: &str, code: &str, is_known: fn(&str) -> bool, errors: &mut Vec<FieldError>) {
    if is_known(code) {
        return;
    }
    let shown: String = code.chars().take(40).collect();
    let upper = code.to_uppercase();
    let remedy = match upper.as_str() {
        "UK" => "did you mean 'GB'?".to_owned(),
        _ if is_known(&upper) => format!("did you mean '{upper}'?"),
        _ => "give two upper-case letters, such as NL, or leave it out".to_owned(),
    };
    let rule = format!("'{shown}' is not an ISO 3166-1 alpha-2 region; {remedy}");
    errors.push(FieldError::new(field, rule));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cafe() -> Organisation {
        Organisation {
            name: "Café Zoë".into(),
            time_zone: "Europe/Amsterdam".into(),
            default_region: "NL".into(),
            ..Organisation::default()
        }
    }

    fn errors(given: Organisation) -> Vec<String> {
        checked(given).expect_err("wrong").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_right_one_is_stored_with_every_setting_said() {
        let given = Organisation { time_zone: "europe/amsterdam".into(), ..cafe() };
        let stored = checked(given).expect("right");
        assert_eq!(stored.time_zone, "Europe/Amsterdam");
        assert_eq!(stored.consent_default(), ConsentDefault::NotSpecified);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let given = Organisation {
            name: "x".repeat(101),
            time_zone: "Europe/Amstredam".into(),
            default_region: "nl".into(),
            consent_default: 9,
            ..Organisation::default()
        };
        assert_eq!(
            errors(given),
            [
                "name: has 101 characters; 100 at most, so shorten it by 1",
                "time_zone: 'Europe/Amstredam' is not an IANA time zone; did you mean 'Europe/Amsterdam'?",
                "default_region: 'nl' is not an ISO 3166-1 alpha-2 region; did you mean 'NL'?",
                "consent_default: 9 is not a consent; give NOT_SPECIFIED or GIVEN",
            ]
        );
    }

    #[test]
    fn a_city_alone_leads_to_its_zone_and_nonsense_to_an_example() {
        let zone = |name: &str| errors(Organisation { time_zone: name.into(), ..cafe() }).remove(0);
        assert_eq!(
            zone("new york"),
            "time_zone: 'new york' is not an IANA time zone; did you mean 'America/New_York'?"
        );
        assert_eq!(
            zone("somewhere over the rainbow"),
            "time_zone: 'somewhere over the rainbow' is not an IANA time zone; give an IANA time \
             zone, such as Europe/Amsterdam"
        );
        assert_eq!(
            zone(""),
            "time_zone: is missing; give an IANA time zone, such as Europe/Amsterdam"
        );
    }

    #[test]
    fn a_name_of_blanks_or_with_a_line_break_is_refused() {
        let name = |name: &str| errors(Organisation { name: name.into(), ..cafe() }).remove(0);
        assert_eq!(name("  "), "name: is missing; give 1 to 100 characters");
        assert_eq!(
            name("Café\nZoë"),
            "name: has a control character (a line break, a tab, …) at character 5; remove it"
        );
    }

    #[test]
    fn markets_are_regions_each_once_and_in_order() {
        let of = |codes: &[&str]| {
            let markets = codes.iter().map(ToString::to_string).collect();
            Organisation { markets, ..cafe() }
        };
        let stored = checked(of(&["NL", "XK", "DE", "NL"])).expect("right");
        assert_eq!(stored.markets, ["DE", "NL", "XK"]);
        assert_eq!(
            errors(of(&["NL", "uk", "de", "", "XX"])),
            [
                "markets: 'uk' is not an ISO 3166-1 alpha-2 region; did you mean 'GB'?",
                "markets: 'de' is not an ISO 3166-1 alpha-2 region; did you mean 'DE'?",
                "markets: '' is not an ISO 3166-1 alpha-2 region; give two upper-case letters, \
                 such as NL, or leave it out",
                "markets: 'XX' is not an ISO 3166-1 alpha-2 region; give two upper-case letters, \
                 such as NL, or leave it out",
            ]
        );
    }

    #[test]
    fn rates_are_whole_credits_of_known_regions() {
        let of = |rates: &[(&str, u32)]| {
            let rates = rates.iter().map(|(code, rate)| ((*code).to_owned(), *rate)).collect();
            Organisation { rates, ..cafe() }
        };
        let stored = checked(of(&[("US", 100), ("XK", 1)])).expect("right");
        assert_eq!(stored.rates, of(&[("US", 100), ("XK", 1)]).rates);
        assert_eq!(
            errors(of(&[("DE", 0), ("FR", 101), ("uk", 2)])),
            [
                "rates: 0 for 'DE' is not from 1 to 100; give the credits that a part costs",
                "rates: 101 for 'FR' is not from 1 to 100; give the credits that a part costs",
                "rates: 'uk' is not an ISO 3166-1 alpha-2 region; did you mean 'GB'?",
            ]
        );
    }

    #[test]
    fn only_the_named_settings_change() {
        let given = Organisation { name: "New".into(), require_consent: true, ..cafe() };
        let merged = merged(&cafe(), given, &["require_consent"]);
        assert_eq!(merged, Organisation { require_consent: true, ..cafe() });
    }
}
