//! Whether a gateway works, told from what its calls come to; and which of two is sent through.

use carillon_dispatch::Outcome;

/// Calls in a row that fail before a gateway counts as down.
const FAILURES: u32 = 5;
const FIRST_WAIT_MS: i64 = 30_000;
const LONGEST_WAIT_MS: i64 = 300_000;

/// Since when a gateway is down, and when one message may try it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Down {
    pub since_ms: i64,
    pub probe_at_ms: i64,
    /// Probes so far, the one under way included.
    pub probes: u32,
}

/// What is known of one gateway.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// In a row.
    failures: u32,
    down: Option<Down>,
}

/// What one call says of its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Works,
    Fails,
    /// A refusal is about its message; what was not begun is about nothing.
    Nothing,
}

impl Sign {
    pub(crate) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Sent { .. } => Self::Works,
            Outcome::Transient { .. } | Outcome::InDoubt { .. } => Self::Fails,
            Outcome::Permanent { .. } | Outcome::NotBegun => Self::Nothing,
        }
    }
}

/// What others must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    WentDown(Down),
    CameUp,
    /// The probe proved nothing: the next message may be one.
    ProbeReturned(Down),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Up,
    /// Down, and one message may try it.
    Due,
    Down,
}

impl Down {
    fn from(now_ms: i64) -> Self {
        Self { since_ms: now_ms, probe_at_ms: now_ms + FIRST_WAIT_MS, probes: 0 }
    }

    /// With its probe taken. The next one is later each time, and comes also where nobody hears
    /// what became of this one.
    fn probed(self, now_ms: i64) -> Self {
        let doubled = FIRST_WAIT_MS.saturating_mul(1 << (self.probes + 1).min(16));
        let probe_at_ms = now_ms + doubled.min(LONGEST_WAIT_MS);
        Self { probe_at_ms, probes: self.probes.saturating_add(1), ..self }
    }
}

impl Health {
    pub(crate) fn standing(&self, now_ms: i64) -> Standing {
        match self.down {
            None => Standing::Up,
            Some(down) if now_ms >= down.probe_at_ms => Standing::Due,
            Some(_) => Standing::Down,
        }
    }

    /// Takes the probe, if one is due: as it was, and as it is for whoever asks next.
    pub(crate) fn take_probe(&mut self, now_ms: i64) -> Option<(Down, Down)> {
        let before = self.down.filter(|down| now_ms >= down.probe_at_ms)?;
        let after = before.probed(now_ms);
        self.down = Some(after);
        Some((before, after))
    }

    /// A call ended. Only a probe shows that a gateway works again: an answer from before it went
    /// down may come late.
    pub(crate) fn ended(&mut self, sign: Sign, is_probe: bool, now_ms: i64) -> Option<Turn> {
        match (self.down, sign) {
            (None, Sign::Works) => self.failures = 0,
            (None, Sign::Fails) => {
                self.failures += 1;
                if self.failures >= FAILURES {
                    let down = Down::from(now_ms);
                    self.tell(Some(down));
                    return Some(Turn::WentDown(down));
                }
            }
            (Some(_), Sign::Works) if is_probe => {
                self.tell(None);
                return Some(Turn::CameUp);
            }
            (Some(down), Sign::Nothing) if is_probe => {
                let down =
                    Down { probe_at_ms: now_ms, probes: down.probes.saturating_sub(1), ..down };
                self.tell(Some(down));
                return Some(Turn::ProbeReturned(down));
            }
            _ => {}
        }
        None
    }

    /// What another process found out.
    pub(crate) fn tell(&mut self, down: Option<Down>) {
        if self.down.is_some() != down.is_some() {
            self.failures = 0;
        }
        self.down = down;
    }
}

/// Whether it is the standby's turn, and whether by one message at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub standby: bool,
    pub sparingly: bool,
}

/// The gateway itself while it works, else its standby while that does, else the gateway: somebody
/// must find out when it works again.
pub(crate) fn choose(gateway: Standing, standby: Option<Standing>) -> Choice {
    let (standby, sparingly) = match (gateway, standby) {
        (Standing::Due, Some(Standing::Up)) => (false, true),
        (Standing::Down, Some(Standing::Up)) => (true, false),
        (Standing::Down, Some(Standing::Due)) => (true, true),
        _ => (false, false),
    };
    Choice { standby, sparingly }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STANDINGS: [Standing; 3] = [Standing::Up, Standing::Due, Standing::Down];

    fn down_at(now_ms: i64) -> Health {
        let mut health = Health::default();
        let turns = (0..FAILURES).filter_map(|_| health.ended(Sign::Fails, false, now_ms)).count();
        assert_eq!((turns, health.standing(now_ms)), (1, Standing::Down));
        health
    }

    #[test]
    fn a_success_in_between_keeps_it_up() {
        let mut health = Health::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert_eq!(health.ended(Sign::Fails, false, 0), None);
                assert_eq!(health.ended(Sign::Nothing, false, 0), None);
            }
            assert_eq!(health.ended(Sign::Works, false, 0), None);
        }
        assert_eq!(health.standing(i64::MAX), Standing::Up);
    }

    #[test]
    fn one_probe_at_a_time_is_let_through_and_brings_it_up() {
        let mut health = down_at(0);
        assert_eq!(health.take_probe(FIRST_WAIT_MS - 1), None);
        assert_eq!(health.standing(FIRST_WAIT_MS), Standing::Due);
        let (_, after) = health.take_probe(FIRST_WAIT_MS).expect("due");
        assert_eq!(after.probe_at_ms, 3 * FIRST_WAIT_MS);
        assert_eq!(health.take_probe(FIRST_WAIT_MS), None);
        assert_eq!(health.ended(Sign::Works, false, FIRST_WAIT_MS), None, "it is of before");
        assert_eq!(health.standing(FIRST_WAIT_MS), Standing::Down);
        assert_eq!(health.ended(Sign::Works, true, FIRST_WAIT_MS), Some(Turn::CameUp));
        assert_eq!(health.standing(FIRST_WAIT_MS), Standing::Up);
    }

    #[test]
    fn a_probe_that_proves_nothing_is_given_to_the_next_message() {
        let mut health = down_at(0);
        let (before, _) = health.take_probe(FIRST_WAIT_MS).expect("due");
        let turn = health.ended(Sign::Nothing, true, FIRST_WAIT_MS);
        let expected = Down { probe_at_ms: FIRST_WAIT_MS, ..before };
        assert_eq!(turn, Some(Turn::ProbeReturned(expected)));
        assert_eq!(health.standing(FIRST_WAIT_MS), Standing::Due);
    }

    #[test]
    fn waits_between_probes_grow_and_have_an_end() {
        let (mut health, mut now_ms, mut waits) = (down_at(0), FIRST_WAIT_MS, Vec::new());
        for _ in 0..40 {
            let (_, after) = health.take_probe(now_ms).expect("due");
            assert_eq!(health.ended(Sign::Fails, true, now_ms), None);
            waits.push(after.probe_at_ms - now_ms);
            now_ms = after.probe_at_ms;
        }
        assert!(waits.is_sorted() && waits[0] == 2 * FIRST_WAIT_MS);
        assert_eq!(waits[39], LONGEST_WAIT_MS);
    }

    #[test]
    fn whoever_works_is_sent_through_and_the_gateway_before_its_standby() {
        for gateway in STANDINGS {
            assert!(!choose(gateway, None).standby && !choose(gateway, None).sparingly);
            for standby in STANDINGS {
                let Choice { standby: other, sparingly } = choose(gateway, Some(standby));
                let (chosen, left) = if other { (standby, gateway) } else { (gateway, standby) };
                assert!(chosen != Standing::Down || left == Standing::Down);
                assert!(!other || gateway == Standing::Down);
                assert!(!sparingly || chosen == Standing::Due);
            }
        }
    }

    proptest! {
        #[test]
        fn it_goes_down_by_failures_in_a_row_and_up_by_a_probe_alone(
            calls in prop::collection::vec((0_u8..3, 0_i64..20_000), 0..300),
        ) {
            let (mut health, mut now_ms, mut row) = (Health::default(), 0, 0);
            for (sign, later) in calls {
                now_ms += later;
                let before = health.standing(now_ms);
                let is_probe = health.take_probe(now_ms).is_some();
                prop_assert_eq!(is_probe, before == Standing::Due);
                let sign = [Sign::Works, Sign::Fails, Sign::Nothing][usize::from(sign)];
                let turn = health.ended(sign, is_probe, now_ms);
                match sign {
                    _ if before != Standing::Up => row = 0,
                    Sign::Works => row = 0,
                    Sign::Fails => row += 1,
                    Sign::Nothing => {}
                }
                let went_down = matches!(turn, Some(Turn::WentDown(_)));
                prop_assert_eq!(went_down, before == Standing::Up && row >= FAILURES);
                prop_assert_eq!(turn == Some(Turn::CameUp), is_probe && sign == Sign::Works);
                let is_up = health.standing(now_ms) == Standing::Up;
                let was_up = before == Standing::Up;
                prop_assert_eq!(is_up, (was_up && !went_down) || turn == Some(Turn::CameUp));
            }
        }
    }
}
