//! How many messages a process may have in `sending`: what one kill can leave `unknown`.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// W: the messages of one micro-batch, at most.
pub const MICRO_BATCH: usize = 64;

/// At most 2·W over all deliveries, connections and channels of the process.
#[derive(Clone)]
pub struct Permits(Arc<Semaphore>);

impl Default for Permits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(2 * MICRO_BATCH)))
    }
}

impl Permits {
    /// One permit at least, and as many more up to `most` as are free. Each is given back when
    /// its message is recorded.
    pub(crate) async fn take(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let most = most.clamp(1, MICRO_BATCH);
        let first = Arc::clone(&self.0).acquire_owned().await;
        let mut taken: Vec<OwnedSemaphorePermit> = first.into_iter().collect();
        while taken.len() < most {
            match Arc::clone(&self.0).try_acquire_owned() {
                Ok(permit) => taken.push(permit),
                Err(_) => break,
            }
        }
        taken
    }
}
