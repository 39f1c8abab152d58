use std::{collections::HashMap, sync::Arc};

use crate::{Region, region, region_of};

/// What a part costs by the region of its number, in credits; 1 where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates(Arc<HashMap<Region, u32>>);

impl Rates {
    /// By the regions' codes (ISO 3166-1 alpha-2, and XK). A region that no numbering plan knows has
    /// no numbers.
    pub fn of<'a>(rates: impl IntoIterator<Item = (&'a String, &'a u32)>) -> Self {
        let known = rates.into_iter().filter_map(|(code, rate)| Some((region(code)?, *rate)));
        Self(Arc::new(known.collect()))
    }

    /// `number` in E.164.
    pub fn of_number(&self, number: &str) -> u32 {
        if self.0.is_empty() {
            return 1;
        }
        region_of(number).and_then(|region| self.0.get(&region)).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_costs_one_credit_unless_the_numbers_region_says_otherwise() {
        let said = [("DE".to_owned(), 2), ("US".to_owned(), 3), ("AQ".to_owned(), 9)];
        let rates = Rates::of(said.iter().map(|(code, rate)| (code, rate)));
        for (number, expected) in [
            ("+4915112345678", 2),
            ("+12125550101", 3),
            ("+14165550123", 1),
            ("+31612345678", 1),
            ("+80012345678", 1),
            ("", 1),
        ] {
            assert_eq!(rates.of_number(number), expected, "{number}");
            assert_eq!(Rates::default().of_number(number), 1, "{number}");
        }
    }
}
