//! What subscribers said of themselves.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use carillon_contracts::events::v1::Mark;

/// What was heard from subscribers since the start; the table keeps the rest.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<HashMap<(String, String), Hearing>>>);

pub(crate) struct Hearing {
    pub at: Instant,
    pub mark: i64,
    /// The highest seq handled, and when it was first heard of; the oldest first.
    pub highest: VecDeque<(Instant, i64)>,
}

impl Heard {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Hearing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, mark: &Mark, now: Instant, keep: Duration) {
        let mut all = self.lock();
        let hearing = all
            .entry((mark.stream.clone(), mark.subscriber.clone()))
            .or_insert_with(|| Hearing { at: now, mark: 0, highest: VecDeque::new() });
        hearing.at = now;
        hearing.mark = hearing.mark.max(mark.mark.cast_signed());
        let highest = mark.highest.cast_signed();
        if hearing.highest.back().is_none_or(|(_, known)| *known < highest) {
            hearing.highest.push_back((now, highest));
        }
        // The newest sample that is old enough stays: it says what was handled by then.
        while hearing.highest.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= keep) {
            hearing.highest.pop_front();
        }
    }
}
