//! What a claim makes of each recipient: who may be sent now, and why the others wait or end.

use carillon_contracts::vocabulary::{MessageState, WaitReason};

use super::addressee::End;
use crate::funds::Funding;

/// How long money that was short is waited for before billing is asked again.
pub(crate) const ASK_AGAIN_MS: i64 = 60_000;
/// Nothing tells when billing that was out of reach is back.
const OUT_OF_REACH_MS: i64 = 5_000;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    Wait { reason: WaitReason, until_ms: i64 },
    Settle { state: MessageState, reason: &'static str },
}

/// What holds for a whole claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub now_ms: i64,
    pub deadline_ms: i64,
    /// Settle everything in this way instead of sending.
    pub instead: Option<End>,
    pub funding: Funding,
    /// When billing is asked again for what it did not grant.
    pub ask_again_ms: i64,
    /// Nothing is sent now: the campaign is paused, no token is near, or the delivery took too long
    /// and what is left goes on without the broker.
    pub wait: Option<(WaitReason, i64)>,
}

/// Goes through a batch in payload order with what is left of its money and of the permits.
pub(crate) struct Claiming {
    terms: Terms,
    /// Units of rows that are sending, posted, or queued after an attempt.
    used: i64,
    permits: usize,
}

impl Claiming {
    pub(crate) fn new(terms: Terms, used: i64, permits: usize) -> Self {
        Self { terms, used, permits }
    }

    /// `counted`: the row's units are in `used` already, for it was attempted before. `bar`: nothing
    /// may be sent to the recipient.
    pub(crate) fn decide(&mut self, units: u32, counted: bool, bar: Option<End>) -> Verdict {
        let Terms { now_ms, deadline_ms, instead, funding, ask_again_ms, wait } = self.terms;
        if let Some((state, reason)) = instead {
            return Verdict::Settle { state, reason };
        }
        if now_ms >= deadline_ms {
            return Verdict::Settle { state: MessageState::Expired, reason: "deadline_passed" };
        }
        if let Some((state, reason)) = bar {
            return Verdict::Settle { state, reason };
        }
        if let Some((reason, until_ms)) = wait {
            return Verdict::Wait { reason, until_ms };
        }
        if self.permits == 0 {
            return Verdict::Wait { reason: WaitReason::Backlog, until_ms: now_ms };
        }
        let more = if counted { 0 } else { i64::from(units) };
        match funding {
            Funding::Unavailable if more > 0 => {
                let until_ms = now_ms + OUT_OF_REACH_MS;
                return Verdict::Wait { reason: WaitReason::BillingUnavailable, until_ms };
            }
            Funding::Granted { units, .. } if self.used + more > units => {
                let reason = WaitReason::InsufficientBalance;
                return Verdict::Wait { reason, until_ms: ask_again_ms };
            }
            _ => {}
        }
        self.used += more;
        self.permits -= 1;
        Verdict::Send
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(funding: Funding) -> Terms {
        Terms {
            now_ms: 10,
            deadline_ms: 20,
            instead: None,
            funding,
            ask_again_ms: 10 + ASK_AGAIN_MS,
            wait: None,
        }
    }

    fn granted(units: i64) -> Funding {
        Funding::Granted { units, raises: 0 }
    }

    fn waits(verdict: Verdict) -> Option<WaitReason> {
        match verdict {
            Verdict::Wait { reason, .. } => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn one_that_fits_is_not_held_up_by_one_that_does_not() {
        let mut claiming = Claiming::new(terms(granted(4)), 2, 9);
        assert_eq!(waits(claiming.decide(3, false, None)), Some(WaitReason::InsufficientBalance));
        assert_eq!(claiming.decide(2, false, None), Verdict::Send);
        assert_eq!(waits(claiming.decide(1, false, None)), Some(WaitReason::InsufficientBalance));
    }

    #[test]
    fn past_the_deadline_nothing_is_sent() {
        let late = Terms { deadline_ms: 10, ..terms(Funding::Free) };
        let verdict = Claiming::new(late, 0, 9).decide(1, false, None);
        assert!(matches!(verdict, Verdict::Settle { state: MessageState::Expired, .. }));
    }

    #[test]
    fn who_opted_out_waits_for_nothing() {
        let paused = Terms { wait: Some((WaitReason::Paused, 20)), ..terms(Funding::Unavailable) };
        let verdict = Claiming::new(paused, 0, 0).decide(
            1,
            false,
            Some((MessageState::Suppressed, "opted_out")),
        );
        assert!(matches!(verdict, Verdict::Settle { state: MessageState::Suppressed, .. }));
        let verdict = Claiming::new(paused, 0, 9).decide(1, false, None);
        assert_eq!(verdict, Verdict::Wait { reason: WaitReason::Paused, until_ms: 20 });
    }

    #[test]
    fn a_retry_is_paid_for_already() {
        let mut claiming = Claiming::new(terms(granted(2)), 2, 9);
        assert_eq!(claiming.decide(2, true, None), Verdict::Send);
        let mut claiming = Claiming::new(terms(Funding::Unavailable), 2, 9);
        assert_eq!(claiming.decide(2, true, None), Verdict::Send);
        assert_eq!(waits(claiming.decide(2, false, None)), Some(WaitReason::BillingUnavailable));
    }

    proptest! {
        #[test]
        fn never_more_is_sent_than_was_granted(
            limit in 0_i64..200, used in 0_i64..50, units in prop::collection::vec(1_u32..5, 0..60),
        ) {
            let mut claiming = Claiming::new(terms(granted(limit)), used, 40);
            let mut spent = used;
            let mut sent = 0;
            for units in units {
                if claiming.decide(units, false, None) == Verdict::Send {
                    spent += i64::from(units);
                    sent += 1;
                }
            }
            prop_assert!(spent <= limit.max(used));
            prop_assert!(sent <= 40);
        }
    }
}
