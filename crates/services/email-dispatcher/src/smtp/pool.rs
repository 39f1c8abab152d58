//! The connections to one server under one version of its settings.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use carillon_dispatch::{Clearance, InSeries, Outcome};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    connection::{Connection, Envelope, Failure},
    dial::{Reach, Target},
    trouble::Trouble,
};

/// An idle connection is closed after this, unless the pool was told otherwise.
const IDLE: Duration = Duration::from_secs(30);
/// Whoever waits for a connection asks this often whether it still may.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A server that cannot be reached is left alone for this long.
const REST: Duration = Duration::from_secs(2);
/// And one that settings keep us from for this long.
const SETTINGS_REST: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    target: Target,
    reach: Arc<Reach>,
    /// Mails a connection takes; 0: any number.
    mails: u32,
    /// An idle connection is closed after this.
    idle: Duration,
    slots: Semaphore,
    inner: Mutex<Inner>,
    /// Connections in the middle of a mail.
    busy: AtomicUsize,
    returned: Notify,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    down: Option<(Instant, Trouble)>,
    closed: bool,
}

/// Counts a connection as busy until it is back or gone.
struct Busy<'a>(&'a Pool);

impl<'a> Busy<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.busy.fetch_add(1, Ordering::Relaxed);
        Self(pool)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.returned.notify_one();
    }
}

impl Pool {
    pub(crate) fn new(target: Target, reach: Arc<Reach>, connections: usize, mails: u32) -> Self {
        Self {
            target,
            reach,
            mails,
            idle: IDLE,
            slots: Semaphore::new(connections),
            inner: Mutex::default(),
            busy: AtomicUsize::new(0),
            returned: Notify::new(),
        }
    }

    /// Idle connections stay for so long.
    #[must_use]
    pub(crate) fn idle_for(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call for one mail.
    pub(crate) async fn send(
        &self,
        envelope: Envelope<'_>,
        source: &[u8],
        clearance: &Clearance,
    ) -> Outcome {
        let Some(_slot) = self.slot(clearance).await else {
            return Outcome::NotBegun;
        };
        // Connecting is part of the call: a throttle's token is for its start.
        if !clearance.may_begin() {
            return Outcome::NotBegun;
        }
        loop {
            let found = tokio::select! {
                biased;
                found = self.connection(clearance) => found,
                () = clearance.broken_off(|| false) => return Outcome::NotBegun,
            };
            let (mut connection, is_fresh) = match found {
                Ok(Some(found)) => found,
                Ok(None) => return Outcome::NotBegun,
                Err(trouble) => return trouble.outcome(),
            };
            if !clearance.may_begin() {
                // It took long to make, and serves the next call.
                self.give_back(connection, clearance.series());
                return Outcome::NotBegun;
            }
            let delivered = {
                let _busy = Busy::new(self);
                let delivered = connection.deliver(envelope, source, clearance).await;
                self.give_back(connection, clearance.series());
                delivered
            };
            match delivered {
                Ok(reply) => {
                    let provider_id = reply.queue_id().unwrap_or_default().to_owned();
                    return Outcome::Sent { provider_id, parts: None };
                }
                Err(Failure::Withdrawn) => return Outcome::NotBegun,
                Err(Failure::Trouble(trouble)) if !is_fresh && trouble.is_stale() => {}
                Err(Failure::Trouble(trouble)) => {
                    if trouble.is_of_settings() {
                        self.set_down(&trouble);
                        self.inner().idle.clear();
                    }
                    return trouble.outcome();
                }
            }
        }
    }

    async fn slot(&self, clearance: &Clearance) -> Option<SemaphorePermit<'_>> {
        loop {
            if let Ok(slot) = timeout(ASK_AGAIN, self.slots.acquire()).await {
                return slot.ok();
            }
            if !clearance.holds() {
                return None;
            }
        }
    }

    /// An idle connection, or a new one; says whether it is new. `None` where the clearance went.
    async fn connection(
        &self,
        clearance: &Clearance,
    ) -> Result<Option<(Connection, bool)>, Trouble> {
        let give_up = Instant::now() + self.reach.limits.command;
        loop {
            if let Some(connection) = self.take_idle(clearance.series()).await {
                return Ok(Some((connection, false)));
            }
            let trouble = match self.down() {
                Some(trouble) => trouble,
                None => match self.reach.open(&self.target).await {
                    Ok(connection) => return Ok(Some((connection, true))),
                    Err(trouble) => {
                        self.set_down(&trouble);
                        trouble
                    }
                },
            };
            // A server that takes fewer connections than are allowed is served by those it took.
            let others = self.busy.load(Ordering::Relaxed) > 0 && !trouble.is_of_settings();
            if !others || Instant::now() >= give_up {
                return Err(trouble);
            }
            let _ = timeout(ASK_AGAIN, self.returned.notified()).await;
            if !clearance.holds() {
                return Ok(None);
            }
        }
    }

    async fn take_idle(&self, place: Option<InSeries>) -> Option<Connection> {
        loop {
            let mut connection = self.inner().idle.pop()?;
            if !connection.may_serve(place) {
                tokio::spawn(connection.close());
            } else if connection.idle_since.elapsed() < self.idle && connection.is_fit().await {
                return Some(connection);
            }
        }
    }

    fn give_back(&self, mut connection: Connection, place: Option<InSeries>) {
        if !connection.is_usable() {
            return;
        }
        let is_full = connection.is_over(place) || self.mails > 0 && connection.sent >= self.mails;
        let mut inner = self.inner();
        if is_full || inner.closed {
            drop(inner);
            tokio::spawn(connection.close());
            return;
        }
        connection.idle_since = Instant::now();
        inner.idle.push(connection);
    }

    fn down(&self) -> Option<Trouble> {
        let inner = self.inner();
        let (until, trouble) = inner.down.as_ref()?;
        (Instant::now() < *until).then(|| trouble.clone())
    }

    fn set_down(&self, trouble: &Trouble) {
        let rest = if trouble.is_of_settings() { SETTINGS_REST } else { REST };
        let mut inner = self.inner();
        let is_news = inner.down.as_ref().is_none_or(|(_, known)| known != trouble);
        inner.down = Some((Instant::now() + rest, trouble.clone()));
        drop(inner);
        if is_news {
            let (host, port) = (&self.target.host, self.target.port);
            tracing::warn!(%host, port, phase = ?trouble.phase, what = %trouble, "an SMTP server cannot be used");
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn reap(&self) {
        let (old, fresh) = {
            let mut inner = self.inner();
            let all = std::mem::take(&mut inner.idle);
            all.into_iter().partition(|connection| connection.idle_since.elapsed() >= self.idle)
        };
        let (old, fresh): (Vec<Connection>, Vec<Connection>) = (old, fresh);
        self.inner().idle.extend(fresh);
        for connection in old {
            tokio::spawn(connection.close());
        }
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(crate) fn close(&self) {
        let idle = {
            let mut inner = self.inner();
            inner.closed = true;
            std::mem::take(&mut inner.idle)
        };
        for connection in idle {
            tokio::spawn(connection.close());
        }
    }
}
