use std::{collections::HashMap, ops::RangeInclusive, sync::LazyLock};

use phonenumber::{Type, metadata::DATABASE};

pub use phonenumber::country::Id as Region;

/// The shortest and the longest national number by country code.
static LENGTHS: LazyLock<HashMap<u16, (usize, usize)>> = LazyLock::new(|| {
    let mut lengths: HashMap<u16, (usize, usize)> = HashMap::new();
    let kinds = [
        Type::FixedLine,
        Type::Mobile,
        Type::TollFree,
        Type::PremiumRate,
        Type::SharedCost,
        Type::PersonalNumber,
        Type::Voip,
    ];
    for plan in DATABASE.iter() {
        let described = kinds.iter().filter_map(|kind| plan.descriptors().get(*kind));
        for length in described.flat_map(|kind| kind.possible_length()) {
            let length = usize::from(*length);
            let known = lengths.entry(plan.country_code()).or_insert((length, length));
            *known = (known.0.min(length), known.1.max(length));
        }
    }
    lengths
});

/// The region whose numbers a country code has; several that share it, the main one first.
static REGIONS: LazyLock<HashMap<u16, Vec<Region>>> = LazyLock::new(|| {
    let mut regions: HashMap<u16, Vec<Region>> = HashMap::new();
    for plan in DATABASE.iter() {
        // Codes of no country, such as +800, stand under 001.
        let Ok(id) = plan.id().parse() else { continue };
        let sharing = regions.entry(plan.country_code()).or_default();
        let at = if plan.is_main_country_for_code() { 0 } else { sharing.len() };
        sharing.insert(at, id);
    }
    regions
});

/// The country code that `digits` begin with, and how many digits it has.
fn country_code(digits: &str) -> Option<(u16, usize)> {
    (1..=3).find_map(|length| {
        let code = digits.get(..length)?.parse().ok()?;
        LENGTHS.contains_key(&code).then_some((code, length))
    })
}

/// How many digits an international number has that begins with these, its country code included;
/// none where no country code is at their beginning.
pub fn lengths_of(digits: &str) -> Option<RangeInclusive<usize>> {
    let (code, length) = country_code(digits)?;
    let (shortest, longest) = LENGTHS.get(&code)?;
    Some(length + shortest..=length + longest)
}

/// The region of a number in E.164; none for one that belongs to no country. Where several share a
/// country code the rest of the number says which, and where that is in no numbering plan (too new,
/// or for fiction) it is the main one's: the others have ranges of their own.
pub fn region_of(number: &str) -> Option<Region> {
    let (code, _) = country_code(number.strip_prefix('+')?)?;
    match REGIONS.get(&code)?.as_slice() {
        [only] => Some(*only),
        [main, ..] => {
            let parsed = phonenumber::parse(None, number).ok();
            Some(parsed.and_then(|number| number.country().id()).unwrap_or(*main))
        }
        [] => None,
    }
}

/// An ISO 3166-1 alpha-2 region, if numbering plans know it.
pub fn region(code: &str) -> Option<Region> {
    code.trim().to_ascii_uppercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_of_the_region_that_its_digits_name() {
        for (number, expected) in [
            ("+31612345678", Some("NL")),
            ("+12125550101", Some("US")),
            ("+14165550123", Some("CA")),
            ("+12425551234", Some("BS")),
            ("+18765550123", Some("JM")),
            ("+79161234567", Some("RU")),
            ("+77011234567", Some("KZ")),
            ("+447700900123", Some("GB")),
            ("+447781123456", Some("GG")),
            ("+393123456789", Some("IT")),
            ("+38344123456", Some("XK")),
            ("+80012345678", None),
            ("+88216123456", None),
            ("+99912345678", None),
            ("", None),
        ] {
            let found = region_of(number);
            assert_eq!(found.as_ref().map(AsRef::as_ref), expected, "{number}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_country_code() {
        assert_eq!(lengths_of("12125550101"), Some(11..=11));
        assert_eq!(lengths_of("99912345678"), None);
        assert_eq!(lengths_of(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = region_of(&text);
            let _ = lengths_of(&text);
            let _ = region(&text);
        }
    }
}
