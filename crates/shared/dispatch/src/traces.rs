//! The span that works on each batch in hand, so that what is told of the batch goes on from there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use carillon_contracts::ids::BatchId;

#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<HashMap<BatchId, String>>>);

/// The batch's trace is known until this is dropped.
pub(crate) struct Traced {
    traces: Traces,
    batch: BatchId,
}

impl Traces {
    fn lock(&self) -> MutexGuard<'_, HashMap<BatchId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, batch: BatchId, traceparent: String) -> Option<Traced> {
        if traceparent.is_empty() {
            return None;
        }
        self.lock().insert(batch, traceparent);
        Some(Traced { traces: self.clone(), batch })
    }

    /// `None` where the batch is in nobody's hand, or nothing is traced.
    pub(crate) fn of(&self, batch: BatchId) -> Option<String> {
        self.lock().get(&batch).cloned()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.traces.lock().remove(&self.batch);
    }
}
