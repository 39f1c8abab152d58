//! How many messages a process may have in `sending`: what one kill can leave `unknown`.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// W: the messages of one micro-batch, at most.
pub const MICRO_BATCH: usize = 64;

/// How long a claim waits to become a whole micro-batch. Where calls are slow it goes with less.
const GATHER: Duration = Duration::from_millis(20);

/// At most 2·W over all deliveries, connections and channels of the process.
#[derive(Clone)]
pub struct Permits {
    free: Arc<Semaphore>,
    /// Deliveries take turns, so that permits go to one batch in bulk and not to all in dribs:
    /// a commit's cost is by the batch, not by the message.
    turn: Arc<Mutex<()>>,
}

impl Default for Permits {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(2 * MICRO_BATCH)), turn: Arc::default() }
    }
}

impl Permits {
    /// Up to `most` permits, a micro-batch at the most, and one at least. Each is given back when
    /// its message is recorded.
    pub(crate) async fn take(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let most = u32::try_from(most.clamp(1, MICRO_BATCH)).unwrap_or(1);
        let _turn = self.turn.lock().await;
        let gathered = Arc::clone(&self.free).acquire_many_owned(most);
        if let Ok(all) = tokio::time::timeout(GATHER, gathered).await {
            return all.map(singly).unwrap_or_default();
        }
        let first = Arc::clone(&self.free).acquire_owned().await;
        let mut taken: Vec<OwnedSemaphorePermit> = first.into_iter().collect();
        while taken.len() < most as usize {
            match Arc::clone(&self.free).try_acquire_owned() {
                Ok(permit) => taken.push(permit),
                Err(_) => break,
            }
        }
        taken
    }
}

fn singly(mut all: OwnedSemaphorePermit) -> Vec<OwnedSemaphorePermit> {
    let mut single: Vec<OwnedSemaphorePermit> =
        std::iter::from_fn(|| if all.num_permits() > 1 { all.split(1) } else { None }).collect();
    single.push(all);
    single
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_than_two_micro_batches_are_out_and_each_permit_comes_back_by_itself() {
        let permits = Permits::default();
        let mut first = permits.take(500).await;
        let second = permits.take(500).await;
        assert_eq!((first.len(), second.len()), (MICRO_BATCH, MICRO_BATCH));
        let none = tokio::time::timeout(GATHER * 3, permits.take(1)).await;
        assert!(none.is_err(), "all are out");
        first.truncate(MICRO_BATCH - 3);
        assert_eq!(permits.take(500).await.len(), 3, "it goes with what is free");
    }
}
