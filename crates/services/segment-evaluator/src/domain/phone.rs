//! Telephone numbers in E.164. Numbers are checked for what can be possible (a known country code
//! and a length that the country uses), not for what is assigned: ranges for fiction and numbers
//! newer than the numbering plan at hand must pass.

use carillon_numbering::{Region, lengths_of};
use phonenumber::Mode;

use super::fault::Fault;

/// E.164 §6: 15 digits at most, country code included.
const MOST_DIGITS: usize = 15;
const FEWEST_DIGITS: usize = 7;

/// Reads a number. One without a country code is read in `region`.
pub(crate) fn parse(text: &str, region: Option<Region>) -> Result<String, Fault> {
    let text = text.trim();
    let international = text.starts_with(['+', '＋']);
    let rest = text.trim_start_matches(['+', '＋']);
    if !rest.chars().all(is_part_of_number) || !rest.contains(|c: char| c.is_ascii_digit()) {
        return Err(not_a_number());
    }
    // A trunk zero, as in +44 (0)20 …, is not dialled from abroad.
    let digits: String = rest.replace("(0)", "").chars().filter(char::is_ascii_digit).collect();
    if international {
        return e164(digits);
    }
    if let Some(region) = region {
        return national(rest, region);
    }
    match digits.strip_prefix("00") {
        Some(rest) => e164(rest.to_owned()),
        None => Err(Fault::new(
            "phone",
            "phone_without_country",
            "has no country code and the organisation has no default region; write it as \
             +<country code><number>, or set the organisation's default region",
        )),
    }
}

/// What a sender can stand for, the likeliest first: providers write numbers in E.164, or the same
/// without the plus, or as they are dialled in `region`.
pub(crate) fn of_sender(text: &str, region: Option<Region>) -> Vec<String> {
    let text = text.trim();
    if text.starts_with(['+', '＋']) || text.starts_with("00") {
        return parse(text, None).into_iter().collect();
    }
    let without_plus = parse(&format!("+{text}"), None).ok();
    let national = region.and_then(|region| parse(text, Some(region)).ok());
    let mut found: Vec<String> = without_plus.into_iter().chain(national).collect();
    found.dedup();
    found
}

/// Whether it has the shape of what this module makes.
pub(crate) fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (FEWEST_DIGITS..=MOST_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn national(text: &str, region: Region) -> Result<String, Fault> {
    match phonenumber::parse(Some(region), text) {
        Ok(number) => {
            let written = number.format().mode(Mode::E164).to_string();
            e164(written.trim_start_matches('+').to_owned())
        }
        Err(phonenumber::ParseError::TooShortNsn | phonenumber::ParseError::TooShortAfterIdd) => {
            Err(too_short())
        }
        Err(phonenumber::ParseError::TooLong) => Err(too_long()),
        Err(phonenumber::ParseError::InvalidCountryCode) => Err(unknown_country()),
        Err(_) => Err(not_a_number()),
    }
}

fn e164(digits: String) -> Result<String, Fault> {
    if digits.len() < FEWEST_DIGITS {
        return Err(too_short());
    }
    if digits.len() > MOST_DIGITS {
        return Err(too_long());
    }
    match lengths_of(&digits) {
        _ if digits.starts_with('0') => Err(unknown_country()),
        None => Err(unknown_country()),
        Some(lengths) if digits.len() < *lengths.start() => Err(too_short()),
        Some(lengths) if digits.len() > *lengths.end() => Err(too_long()),
        Some(_) => Ok(format!("+{digits}")),
    }
}

/// Digits, and what people write between them.
fn is_part_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, ' ' | '\u{a0}' | '-' | '.' | '(' | ')' | '/' | '‐'..='―')
}

fn not_a_number() -> Fault {
    Fault::new("phone", "phone_not_a_number", "is not a phone number; write it as +442079460000")
}

fn unknown_country() -> Fault {
    Fault::new(
        "phone",
        "phone_unknown_country",
        "begins with a country code that does not exist; write it as +<country code><number>",
    )
}

fn too_short() -> Fault {
    Fault::new(
        "phone",
        "phone_too_short",
        "has too few digits for its country; add what is missing",
    )
}

fn too_long() -> Fault {
    Fault::new(
        "phone",
        "phone_too_long",
        "has too many digits for its country (E.164 allows 15 at most); give one number",
    )
}

#[cfg(test)]
mod tests {
    use carillon_numbering::region;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, in_region: Option<&str>) -> Result<String, String> {
        parse(text, in_region.and_then(region)).map_err(|fault| fault.reason.into_owned())
    }

    #[test]
    fn numbers_for_fiction_are_accepted() {
        for number in ["+447700900123", "+441632960123", "+12125550101", "+491713920032"] {
            assert_eq!(read(number, None), Ok(number.to_owned()));
        }
        for number in ["+33199001234", "+46701740605", "+61491570156", "+353209112345"] {
            assert_eq!(read(number, None), Ok(number.to_owned()));
        }
    }

    #[test]
    fn separators_and_a_trunk_zero_are_left_out() {
        assert_eq!(read("+44 (0)20 7946-0000", None), Ok("+442079460000".into()));
        assert_eq!(read("0044 20 7946 0000", None), Ok("+442079460000".into()));
        assert_eq!(read("+39 06 1234 5678", None), Ok("+390612345678".into()));
    }

    #[test]
    fn a_national_number_needs_a_region() {
        assert_eq!(read("07700 900123", None), Err("phone_without_country".into()));
        assert_eq!(read("07700 900123", Some("GB")), Ok("+447700900123".into()));
        assert_eq!(read("(212) 555-0101", Some("us")), Ok("+12125550101".into()));
        assert_eq!(read("011 44 20 7946 0000", Some("US")), Ok("+442079460000".into()));
        assert_eq!(read("06 1234 5678", Some("IT")), Ok("+390612345678".into()));
    }

    #[test]
    fn an_international_number_is_read_the_same_in_any_region() {
        for in_region in [None, Some("GB"), Some("US"), Some("RU")] {
            assert_eq!(read("+447700900123", in_region), Ok("+447700900123".into()));
        }
    }

    #[test]
    fn each_fault_has_its_reason() {
        assert_eq!(read("call me", None), Err("phone_not_a_number".into()));
        assert_eq!(read("+", None), Err("phone_not_a_number".into()));
        assert_eq!(read("+1+212", None), Err("phone_not_a_number".into()));
        assert_eq!(read("+99912345678", None), Err("phone_unknown_country".into()));
        assert_eq!(read("+0441234567", None), Err("phone_unknown_country".into()));
        assert_eq!(read("+1212", None), Err("phone_too_short".into()));
        assert_eq!(read("+1212555010", None), Err("phone_too_short".into()));
        assert_eq!(read("+121255501011", None), Err("phone_too_long".into()));
        assert_eq!(read("+44770090012345678901", None), Err("phone_too_long".into()));
    }

    #[test]
    fn a_sender_is_read_as_providers_write_it() {
        let of = |text, in_region: Option<&str>| of_sender(text, in_region.and_then(region));
        for text in ["+31612345678", " 31612345678", "0031612345678", "31 6 1234 5678"] {
            assert_eq!(of(text, None), ["+31612345678"], "{text}");
        }
        assert_eq!(of("0612345678", Some("NL")), ["+31612345678"]);
        assert_eq!(of("612345678", Some("ES")), ["+612345678", "+34612345678"]);
        assert_eq!(of("31612345678", Some("NL")), ["+31612345678"]);
        for text in ["", "Cafe", "12345", "+", "anonymous"] {
            assert_eq!(of(text, Some("NL")), [""; 0], "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_e164_and_stays_as_it_is(text in "\\+?[0-9 ()./-]{0,22}") {
            if let Ok(number) = parse(&text, region("NL")) {
                prop_assert!(is_e164(&number), "{number}");
                prop_assert_eq!(parse(&number, None), Ok(number));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = parse(&text, region("US"));
            let _ = of_sender(&text, region("US"));
        }
    }
}
