use std::{collections::BTreeSet, num::NonZeroU32};

use serde::Deserialize;

/// What can be set of this service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The amounts that are sold, in credits.
    pub packages: Vec<NonZeroU32>,
}

impl Default for Config {
    fn default() -> Self {
        let packages = [2_000, 5_000, 10_000];
        Self { packages: packages.into_iter().filter_map(NonZeroU32::new).collect() }
    }
}

impl Config {
    pub(crate) fn packages(self) -> Vec<i64> {
        let sorted: BTreeSet<_> = self.packages.into_iter().collect();
        sorted.into_iter().map(|credits| i64::from(credits.get())).collect()
    }
}
