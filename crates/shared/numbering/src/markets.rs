use std::{collections::HashSet, sync::Arc};

use crate::{Region, region, region_of};

/// The countries to whose numbers an organisation may send. `None`: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markets(Option<Arc<HashSet<Region>>>);

impl Markets {
    /// By their codes (ISO 3166-1 alpha-2, and XK); all where none is named. A region that no
    /// numbering plan knows allows nobody.
    pub fn of(codes: &[String]) -> Self {
        Self(
            (!codes.is_empty())
                .then(|| Arc::new(codes.iter().filter_map(|code| region(code)).collect())),
        )
    }

    /// `number` in E.164. Numbers that belong to no country are in no market.
    pub fn allow(&self, number: &str) -> bool {
        let Some(allowed) = &self.0 else { return true };
        region_of(number).is_some_and(|region| allowed.contains(&region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markets(codes: &[&str]) -> Markets {
        Markets::of(&codes.iter().map(ToString::to_string).collect::<Vec<_>>())
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
