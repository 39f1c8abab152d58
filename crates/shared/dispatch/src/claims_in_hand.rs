//! Which claims this process knows of: being committed, or with messages that are not recorded
//! yet. A row in `sending` of any other claim was never handed over.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Clone, Default)]
pub(crate) struct ClaimsInHand(Arc<Mutex<HashMap<i64, Stage>>>);

enum Stage {
    Committing,
    /// So many of its messages are not recorded yet.
    HandedOver(usize),
    /// What became of a message of it cannot be written.
    Left,
}

impl ClaimsInHand {
    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is under way any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().values().all(|stage| matches!(stage, Stage::Left))
    }

    pub(crate) fn known(&self) -> HashSet<i64> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn left(&self, claim: i64) {
        self.lock().insert(claim, Stage::Left);
    }

    pub(crate) fn committing(&self, claim: i64) {
        self.lock().insert(claim, Stage::Committing);
    }

    pub(crate) fn handed_over(&self, claim: i64, messages: usize) {
        if messages == 0 {
            return self.given_up(claim);
        }
        self.lock().insert(claim, Stage::HandedOver(messages));
    }

    pub(crate) fn recorded(&self, claim: i64) {
        let mut all = self.lock();
        match all.get_mut(&claim) {
            Some(Stage::HandedOver(left)) if *left > 1 => *left -= 1,
            Some(Stage::Left) => {}
            _ => {
                all.remove(&claim);
            }
        }
    }

    pub(crate) fn given_up(&self, claim: i64) {
        self.lock().remove(&claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_known_from_before_its_commit_until_its_last_record() {
        let claims = ClaimsInHand::default();
        claims.committing(7);
        assert!(claims.known().contains(&7));
        claims.handed_over(7, 2);
        claims.recorded(7);
        assert!(claims.known().contains(&7));
        claims.recorded(7);
        assert!(claims.is_empty());
    }

    #[test]
    fn a_claim_that_cannot_be_recorded_stays_known_and_holds_up_no_stop() {
        let claims = ClaimsInHand::default();
        claims.handed_over(7, 2);
        claims.left(7);
        claims.recorded(7);
        assert!(claims.known().contains(&7) && claims.is_empty());
    }

    #[test]
    fn a_claim_that_took_nothing_is_over_at_once() {
        let claims = ClaimsInHand::default();
        claims.committing(7);
        claims.handed_over(7, 0);
        assert!(claims.known().is_empty());
    }
}
