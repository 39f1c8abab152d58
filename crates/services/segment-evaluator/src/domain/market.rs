//! The countries to whose numbers an organisation may send SMS.

use std::collections::HashSet;

use carillon_contracts::campaign::v1::Organisation;
use phonenumber::country;

use super::phone;

/// `None`: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Markets(Option<HashSet<country::Id>>);

impl Markets {
    /// A region that no numbering plan knows allows nobody.
    pub(crate) fn of(organisation: &Organisation) -> Self {
        let named = &organisation.markets;
        Self(
            (!named.is_empty())
                .then(|| named.iter().filter_map(|code| phone::region(code)).collect()),
        )
    }

    /// `number` in E.164. Numbers that belong to no country are in no market.
    pub(crate) fn allow(&self, number: &str) -> bool {
        let Some(allowed) = &self.0 else { return true };
        phone::region_of(number).is_some_and(|region| allowed.contains(&region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markets(codes: &[&str]) -> Markets {
        let markets = codes.iter().map(ToString::to_string).collect();
        Markets::of(&Organisation { markets, ..Organisation::default() })
    }

    #[test]
    fn no_market_named_allows_every_number() {
        for number in ["+31612345678", "+12425551234", "+80012345678", "+999"] {
            assert!(markets(&[]).allow(number), "{number}");
        }
    }

    #[test]
    fn only_numbers_of_the_markets_are_allowed() {
        let (dutch, german) = ("+31612345678", "+4915112345678");
        assert!(markets(&["NL", "DE"]).allow(dutch) && markets(&["NL", "DE"]).allow(german));
        assert!(!markets(&["DE"]).allow(dutch));
        assert!(!markets(&["AQ"]).allow(dutch), "nobody telephones there");
        assert!(!markets(&["US", "NL"]).allow("+80012345678"), "of no country");
    }
}
