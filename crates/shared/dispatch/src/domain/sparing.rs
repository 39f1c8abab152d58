//! Warnings that may come for every message of a campaign: the log gets a few of them, with how
//! many there were.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_contracts::ids::OrganisationId;

/// Between two lines about one organisation.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Sparing(HashMap<OrganisationId, Since>);

struct Since {
    told_at: Instant,
    untold: u64,
}

impl Sparing {
    /// How many there were since the organisation's last line, these included; `None` where that
    /// was just now.
    pub(crate) fn line(
        &mut self,
        organisation: OrganisationId,
        more: u64,
        now: Instant,
    ) -> Option<u64> {
        let Some(since) = self.0.get_mut(&organisation) else {
            self.0.insert(organisation, Since { told_at: now, untold: 0 });
            return Some(more);
        };
        since.untold += more;
        if now.duration_since(since.told_at) < PAUSE {
            return None;
        }
        since.told_at = now;
        Some(std::mem::take(&mut since.untold))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_organisation_has_a_line_a_minute_that_says_how_many_there_were() {
        let [one, other] = [1, 2].map(|n| OrganisationId::new(Uuid::from_u128(n)));
        let (mut sparing, begin) = (Sparing::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(sparing.line(one, 1, after(0)), Some(1));
        assert_eq!(sparing.line(one, 1, after(1)), None);
        assert_eq!(sparing.line(one, 3, after(59)), None);
        assert_eq!(sparing.line(other, 2, after(59)), Some(2));
        assert_eq!(sparing.line(one, 1, after(60)), Some(5));
        assert_eq!(sparing.line(one, 1, after(119)), None);
        assert_eq!(sparing.line(one, 1, after(120)), Some(2));
    }
}
