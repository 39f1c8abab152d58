//! Overtaken: a released batch that is not accepted, although one released long after it on the same
//! queue has progressed, or although the queue has long been empty, was lost on the way. It goes
//! again, which the claim makes harmless; after a few times without progress it is parked, and
//! anything heard of it unparks it. Dispatchers that are down, or a long queue, overtake nobody.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_service_kit::Stop;
use sea_orm::DbErr;

use crate::{Evaluator, queue::Queue, store};

/// A batch to which it happens this often is parked.
const MOST: i64 = 5;
/// A batch parked although it is only to be settled waits for a place again after this.
const PARKED_MS: i64 = 60 * 60 * 1000;
const SHORTEST_BEAT: Duration = Duration::from_millis(20);

/// Since when a queue has shown nothing ready and a living consumer.
type Idle = HashMap<Queue, Instant>;

impl Evaluator {
    pub(crate) async fn watch_released(self, stop: Stop) -> Result<(), DbErr> {
        let beat = (self.patience / 12).max(SHORTEST_BEAT);
        let mut idle = Idle::new();
        while stop.sleep(beat).await {
            for queue in Queue::all() {
                let is_idle = self.is_idle(queue, &mut idle).await;
                if self.overtake(queue, is_idle).await? > 0 {
                    // What goes again has to pass through first.
                    idle.remove(&queue);
                    self.release_soon.notify_one();
                }
            }
            self.settle_parked().await?;
        }
        Ok(())
    }

    /// Whether the queue has shown nothing ready and living consumers for as long as is waited.
    async fn is_idle(&self, queue: Queue, idle: &mut Idle) -> bool {
        match self.broker.depth(&queue.name()).await {
            Ok(depth) if depth.ready == 0 && depth.consumers > 0 => {
                idle.entry(queue).or_insert_with(Instant::now).elapsed() >= self.patience
            }
            _ => {
                idle.remove(&queue);
                false
            }
        }
    }

    /// Answers how many batches go again.
    async fn overtake(&self, queue: Queue, is_idle: bool) -> Result<u64, DbErr> {
        let now = self.clock.now_ms();
        let long_ago = now.saturating_sub(self.patience_ms());
        let reader = self.database.reader();
        if !store::out_in_any_organisation(reader, queue, long_ago).await? {
            return Ok(0);
        }
        let sent_by = if is_idle {
            Some(long_ago)
        } else {
            let progressed = store::progressed_of_all_organisations(reader, queue).await?;
            progressed.map(|at| at.saturating_sub(self.patience_ms()).min(long_ago))
        };
        let Some(sent_by) = sent_by else { return Ok(0) };
        let tx = self.database.begin().await?;
        let (again, parked) =
            store::overtake_of_all_organisations(&tx, queue, (sent_by, long_ago), MOST, now)
                .await?;
        tx.commit().await?;
        if again > 0 {
            tracing::warn!(queue = queue.name(), again, "overtaken batches released again");
        }
        for batch in parked {
            tracing::error!(
                queue = queue.name(), %batch,
                "batch released {MOST} times without a word from a dispatcher; parked"
            );
        }
        Ok(again)
    }

    /// A parked batch past its deadline, or of a cancelled campaign, can be settled after all.
    async fn settle_parked(&self) -> Result<(), DbErr> {
        if !store::parked_in_any_organisation(self.database.reader()).await? {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let tx = self.database.begin().await?;
        let again = store::again_when_ended_of_all_organisations(&tx, now - PARKED_MS, now).await?;
        tx.commit().await?;
        if again > 0 {
            tracing::warn!(again, "parked batches released to be settled");
            self.release_soon.notify_one();
        }
        Ok(())
    }

    fn patience_ms(&self) -> i64 {
        i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX)
    }
}
