//! The figures of a run, and the rules that they keep.

use std::collections::BTreeMap;

use carillon_contracts::{
    events::v1::{RunPlanned, Totals},
    jobs::v1::Channel,
    report::v1::ChannelReport,
};

/// Counts by a word of the vocabulary.
pub(crate) type Words = BTreeMap<String, u64>;

/// Of one channel, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub planned: u64,
    pub skipped: Words,
    pub states: Words,
    pub waiting: Words,
    pub in_flight: u64,
    pub parts: u64,
    pub units: u64,
}

impl Sums {
    pub(crate) fn matched(&self) -> u64 {
        self.planned + self.skipped.values().sum::<u64>()
    }

    fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.in_flight += other.in_flight;
        self.parts += other.parts;
        self.units += other.units;
        for (mine, theirs) in [
            (&mut self.skipped, &other.skipped),
            (&mut self.states, &other.states),
            (&mut self.waiting, &other.waiting),
        ] {
            for (word, count) in theirs {
                *mine.entry(word.clone()).or_default() += count;
            }
        }
    }
}

/// A run's figures by channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunSums {
    pub channels: BTreeMap<Channel, Sums>,
    /// When one of its batches last changed; 0 before any.
    pub updated_ms: i64,
}

impl RunSums {
    pub(crate) fn all(&self) -> Sums {
        let mut all = Sums::default();
        self.channels.values().for_each(|channel| all.add(channel));
        all
    }

    pub(crate) fn into_channels(self) -> Vec<ChannelReport> {
        let channel = |(channel, sums): (Channel, Sums)| ChannelReport {
            channel: channel.into(),
            matched: sums.matched(),
            planned: sums.planned,
            skipped: sums.skipped,
            states: sums.states,
            waiting: sums.waiting,
            in_flight: sums.in_flight,
            // An e-mail has one of each, which is no part and costs nothing.
            parts: if channel == Channel::Sms { sums.parts } else { 0 },
            credits: if channel == Channel::Sms { sums.units } else { 0 },
        };
        self.channels.into_iter().map(channel).collect()
    }
}

/// What the planner itself counted when it closed the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub matched: u64,
    pub planned: u64,
    pub skipped: Words,
}

impl Plan {
    pub(crate) fn of(planned: &RunPlanned) -> Self {
        let skipped = planned.skipped.iter().filter(|(_, count)| **count > 0);
        Self {
            matched: planned.matched,
            planned: planned.planned,
            skipped: skipped.map(|(reason, count)| (reason.clone(), *count)).collect(),
        }
    }

    /// Every step of the plan was heard.
    pub(crate) fn is_complete(&self, sums: &Sums) -> bool {
        self.planned == sums.planned
            && self.matched == sums.matched()
            && self.skipped == sums.skipped
    }
}

/// Messages of a batch that are not settled.
///
/// # Errors
/// Where the totals do not add up, for then nothing of the report would.
pub(crate) fn open(totals: &Totals) -> Result<u32, String> {
    let waiting: u64 = totals.waiting.values().copied().map(u64::from).sum();
    let settled: u64 = totals.settled.values().copied().map(u64::from).sum();
    let open = u64::from(totals.unattempted) + u64::from(totals.sending) + waiting;
    if open + settled != u64::from(totals.count) {
        let count = totals.count;
        return Err(format!("totals of {count} with {open} open and {settled} settled"));
    }
    u32::try_from(open).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(&str, u64)]) -> Words {
        words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn a_plan_is_complete_once_all_of_it_was_heard() {
        let heard = Sums { planned: 3, skipped: words(&[("no_address", 2)]), ..Sums::default() };
        let skipped = words(&[("no_address", 2), ("capped", 0)]);
        let closed = RunPlanned { matched: 5, planned: 3, skipped, ..RunPlanned::default() };
        assert!(Plan::of(&closed).is_complete(&heard));
        let more = RunPlanned { matched: 6, planned: 4, ..closed.clone() };
        assert!(!Plan::of(&more).is_complete(&heard));
        let other = RunPlanned { skipped: words(&[("capped", 2)]), ..closed };
        assert!(!Plan::of(&other).is_complete(&heard));
    }

    #[test]
    fn totals_that_do_not_add_up_are_refused() {
        let mut totals = Totals {
            count: 6,
            unattempted: 1,
            sending: 1,
            waiting: [("retrying".to_owned(), 2)].into(),
            settled: [("sent".to_owned(), 2)].into(),
            ..Totals::default()
        };
        assert_eq!(open(&totals), Ok(4));
        totals.unattempted = 2;
        assert_eq!(open(&totals), Err("totals of 6 with 5 open and 2 settled".into()));
    }
}
