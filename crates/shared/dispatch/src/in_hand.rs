//! Which batches a delivery or a retry is working on, so that no second one starts on them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use carillon_contracts::ids::BatchId;

#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<BatchId>>>);

/// The batch is let go when this is dropped.
pub(crate) struct Held {
    all: InHand,
    batch: BatchId,
}

impl InHand {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn take(&self, batch: BatchId) -> Option<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(batch).then(|| Held { all: self.clone(), batch })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.batch);
    }
}
