//! This worker's heartbeat, and its eye on the others. Whoever cannot beat begins no call long
//! before anybody declares it dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use carillon_service_kit::Stop;
use sea_orm::DbErr;

use crate::{
    clearance::Boottime,
    committer::Committer,
    store::{Beats, ClaimId, Store},
};

/// Between two beats, and between two looks at the others.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// Beats after which the last good one clears nothing any more.
const GOOD_FOR: u32 = 5;
/// Reads over which a counter must stand still. The first and the last are seven beats apart.
const STILL_FOR: u32 = 8;

/// Shared by all that belongs to this worker.
#[derive(Clone)]
pub(crate) struct Heartbeat(Arc<Inner>);

struct Inner {
    store: Store,
    every: Duration,
    pulse: Mutex<Pulse>,
    /// Who finds the epoch dead takes a new one; the others wait for it.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Pulse {
    epoch: i64,
    /// When the last good beat began.
    good_at: Boottime,
}

impl Heartbeat {
    /// Takes an epoch. Where nobody shares the database, what earlier ones left is taken over
    /// before this returns.
    pub(crate) async fn begin(store: Store, every: Duration) -> Result<Self, DbErr> {
        let shared = store.database.is_shared();
        if !shared {
            store.declare_all_dead().await?;
            store.sweep_dead().await?;
        }
        let good_at = Boottime::now();
        let pulse = Mutex::new(Pulse { epoch: store.begin_epoch().await?, good_at });
        let renewing = tokio::sync::Mutex::default();
        Ok(Self(Arc::new(Inner { store, every, pulse, renewing })))
    }

    fn lock(&self) -> MutexGuard<'_, Pulse> {
        self.0.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.lock().epoch
    }

    /// Whether calls of the claim may begin: the last good beat of its own epoch began a short
    /// while ago. A database that nobody shares needs no beats.
    pub(crate) fn covers(&self, claim: ClaimId) -> bool {
        let Pulse { epoch, good_at } = *self.lock();
        let fresh =
            !self.0.store.database.is_shared() || good_at.elapsed() < self.0.every * GOOD_FOR;
        fresh && epoch == claim.epoch
    }

    /// A new epoch in place of one that was declared dead. Claims of the old one are not called
    /// any more.
    pub(crate) async fn renew(&self, dead: i64) -> Result<i64, DbErr> {
        let _one = self.0.renewing.lock().await;
        let now = self.epoch();
        if now != dead {
            return Ok(now);
        }
        let good_at = Boottime::now();
        let epoch = self.0.store.begin_epoch().await?;
        tracing::warn!(dead, epoch, "declared dead by another worker; going on with a new epoch");
        *self.lock() = Pulse { epoch, good_at };
        Ok(epoch)
    }

    /// Starts the beats, the watch over the other workers, and the reading back.
    pub(crate) fn spawn(&self, committer: &Committer, stop: &Stop) {
        let store = &self.0.store;
        if store.database.is_shared() {
            let (heartbeat, claims) = (self.clone(), committer.claims_in_hand());
            let stopping = stop.clone();
            stop.keep("heartbeat", move || {
                let (claims, stopping) = (claims.clone(), stopping.clone());
                let heartbeat = heartbeat.clone();
                async move {
                    // Calls under way are finished while stopping, so they must still be covered.
                    while heartbeat.rest(&stopping).await || !claims.is_empty() {
                        heartbeat.beat().await;
                    }
                    Ok::<(), DbErr>(())
                }
            });
            let (heartbeat, stopping) = (self.clone(), stop.clone());
            stop.keep("worker watch", move || heartbeat.clone().watch(stopping.clone()));
        }
        let (heartbeat, committer, stopping) = (self.clone(), committer.clone(), stop.clone());
        stop.spawn("read-back", async move {
            while heartbeat.rest(&stopping).await {
                if let Err(error) = committer.read_back(&heartbeat.0.store, heartbeat.epoch()).await
                {
                    tracing::warn!(%error, "messages in hand not read back; trying again");
                }
            }
            Ok::<(), DbErr>(())
        });
    }

    /// Answers whether to go on.
    async fn rest(&self, stop: &Stop) -> bool {
        if stop.is_stopping() {
            tokio::time::sleep(self.0.every.min(Duration::from_millis(200))).await;
            return false;
        }
        stop.sleep(self.0.every).await
    }

    async fn beat(&self) {
        let (epoch, begun) = (self.epoch(), Boottime::now());
        let beat = tokio::time::timeout(self.0.every * GOOD_FOR, self.0.store.beat(epoch));
        match beat.await {
            Ok(Ok(true)) => {
                let mut pulse = self.lock();
                if pulse.epoch == epoch {
                    pulse.good_at = begun;
                }
            }
            Ok(Ok(false)) => {
                if let Err(error) = self.renew(epoch).await {
                    tracing::warn!(%error, "no new epoch; trying again");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "heartbeat not written; trying again"),
            Err(_) => tracing::warn!("heartbeat not written in time; trying again"),
        }
    }

    async fn watch(self, stop: Stop) -> Result<(), DbErr> {
        let store = &self.0.store;
        let mut watched = Watched::default();
        let mut last: Option<Boottime> = None;
        while self.rest(&stop).await {
            let begun = Boottime::now();
            let beats = match store.beats_of_all_workers().await {
                Ok(beats) => beats,
                Err(error) => {
                    tracing::warn!(%error, "heartbeats not read; the watch starts over");
                    (watched, last) = (Watched::default(), None);
                    continue;
                }
            };
            // One that comes late says nothing about what happened in between.
            if last.is_some_and(|last| last.elapsed() > self.0.every * 2) {
                watched = Watched::default();
            }
            last = Some(begun);
            for seen in watched.read(&beats) {
                if seen.epoch != self.epoch() && store.declare_dead(seen).await? {
                    tracing::warn!(epoch = seen.epoch, "a worker's heart stopped; it is dead");
                }
            }
            store.sweep_dead().await?;
        }
        Ok(())
    }
}

/// How often in a row each counter was read without having moved.
#[derive(Default)]
struct Watched(HashMap<i64, (Beats, u32)>);

impl Watched {
    /// Answers whose counter stood still for long enough.
    fn read(&mut self, all: &[Beats]) -> Vec<Beats> {
        let before = std::mem::take(&mut self.0);
        for now in all {
            let reads = match before.get(&now.epoch) {
                Some((seen, reads)) if seen == now => reads + 1,
                _ => 1,
            };
            self.0.insert(now.epoch, (*now, reads));
        }
        let still = self.0.values().filter(|(_, reads)| *reads >= STILL_FOR);
        still.map(|(beats, _)| *beats).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_stands_still_over_eight_reads_is_dead_and_no_sooner() {
        let mut watched = Watched::default();
        for n in 0..7 {
            let read = [Beats { epoch: 1, beats: 4 }, Beats { epoch: 2, beats: n }];
            assert!(watched.read(&read).is_empty(), "read {n}");
        }
        let dead = Beats { epoch: 1, beats: 4 };
        assert_eq!(watched.read(&[dead, Beats { epoch: 2, beats: 7 }]), [dead]);
    }

    #[test]
    fn one_beat_starts_the_count_over() {
        let mut watched = Watched::default();
        for n in 0..100 {
            assert!(watched.read(&[Beats { epoch: 1, beats: n / 7 }]).is_empty(), "read {n}");
        }
    }

    #[test]
    fn a_worker_that_was_not_seen_for_a_read_is_counted_anew() {
        let mut watched = Watched::default();
        let still = Beats { epoch: 1, beats: 4 };
        (0..7).for_each(|_| assert!(watched.read(&[still]).is_empty()));
        assert!(watched.read(&[]).is_empty());
        (0..7).for_each(|_| assert!(watched.read(&[still]).is_empty()));
        assert_eq!(watched.read(&[still]), [still]);
    }
}
