//! The sessions of one account: each is bound again when it ends, until nobody needs it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carillon_dispatch::Outcome;
use carillon_http_gateway::Origin;
use carillon_service_kit::Stop;
use rand::RngExt as _;
use rusmpp::pdus::SubmitSm;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{
    Leave,
    pdu::Login,
    reader::{Ended, Listener, Patience, Reader, Unbound, bind},
    session::{Answer, Lost, Session},
    status,
};
use crate::gateway::{provider::unanswered, wire::Wire};

const TASK: &str = "SMPP session";
/// A session that lasted for so long was a good one.
const STEADY: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After the SMSC said that it is too fast.
pub(super) const BRAKE: Duration = Duration::from_secs(1);

/// How an account is reached.
pub(super) struct Reached {
    pub wire: Arc<Wire>,
    pub origin: Origin,
    pub login: Login,
    pub sessions: usize,
    pub window: usize,
    pub patience: Patience,
}

pub(super) struct Pool {
    reached: Reached,
    listener: Arc<dyn Listener>,
    stop: Stop,
    begun: AtomicBool,
    slots: Mutex<Vec<Slot>>,
    /// A slot became another.
    changed: Notify,
    closing: watch::Sender<bool>,
    calls: watch::Sender<usize>,
    brake: Mutex<Option<Instant>>,
}

#[derive(Clone)]
enum Slot {
    Connecting,
    Bound(Arc<Session>),
    /// Not now, for this reason.
    Resting(Outcome),
}

/// A submit without an answer.
pub(super) enum Missed {
    NotBegun,
    Unsent(Outcome),
    InDoubt(&'static str),
}

impl Pool {
    pub(super) fn new(reached: Reached, listener: Arc<dyn Listener>, stop: Stop) -> Arc<Self> {
        let slots = Mutex::new(vec![Slot::Connecting; reached.sessions]);
        Arc::new(Self {
            reached,
            listener,
            stop,
            begun: AtomicBool::new(false),
            slots,
            changed: Notify::new(),
            closing: watch::Sender::new(false),
            calls: watch::Sender::new(0),
            brake: Mutex::default(),
        })
    }

    /// Binds, if it has not begun to.
    pub(super) fn begin(self: &Arc<Self>) {
        if self.is_closing() || self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        for slot in 0..self.reached.sessions {
            let pool = Arc::clone(self);
            self.stop.spawn(TASK, async move {
                pool.keep(slot).await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
    }

    /// Unbinds when the calls under way have ended.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.stop.is_stopping()
    }

    async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = self.stop.requested() => {}
        }
    }

    /// No session ends, but by others, while a call lasts.
    pub(super) fn call(&self) -> Call<'_> {
        self.calls.send_modify(|calls| *calls += 1);
        Call(self)
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, slot: usize, to: Slot) {
        self.slots()[slot] = to;
        self.changed.notify_waiters();
    }

    async fn keep(self: Arc<Self>, slot: usize) {
        let mut failures = 0;
        while !self.is_closing() {
            self.set(slot, Slot::Connecting);
            let bound = tokio::select! {
                bound = self.bind() => bound,
                () = self.closing() => break,
            };
            let why = match bound {
                Ok((session, reader)) => {
                    let begun = Instant::now();
                    self.set(slot, Slot::Bound(session));
                    self.serve(reader).await;
                    failures = if begun.elapsed() < STEADY { failures } else { 0 };
                    Outcome::Transient { code: "session_lost".into(), retry_after: None }
                }
                Err(why) => {
                    tracing::warn!(host = self.reached.origin.host, ?why, "no SMPP session");
                    why
                }
            };
            let rest = rest(failures, &why);
            failures += 1;
            if !rest.is_zero() {
                self.set(slot, Slot::Resting(why));
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = self.closing() => {}
                }
            }
        }
        self.set(slot, Slot::Resting(Outcome::NotBegun));
    }

    async fn bind(&self) -> Result<(Arc<Session>, Reader), Outcome> {
        let Reached { wire, origin, login, window, patience, .. } = &self.reached;
        let dialled = wire.dial(origin).await.map_err(unanswered)?;
        let bound = bind(dialled, login, *window, Arc::clone(&self.listener), *patience).await;
        bound.map_err(|why| match why {
            Unbound::Refused(status) => status::unbound(status),
            Unbound::Lost(code) => Outcome::Transient { code: code.into(), retry_after: None },
        })
    }

    async fn serve(&self, mut reader: Reader) {
        let closing = async {
            self.closing().await;
            // Nobody drops the sender while it is borrowed here.
            let _ = self.calls.subscribe().wait_for(|calls| *calls == 0).await;
        };
        let ended = tokio::select! {
            ended = reader.read(closing) => ended,
            // Every call has ended by then; an SMSC that does not say goodbye is left.
            () = self.stop.calls_over() => return,
        };
        if ended == Ended::Unbinding {
            self.stop.spawn(TASK, async move {
                reader.drain().await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
    }

    /// The one with most room; waited for while any may come.
    async fn session(&self) -> Result<Arc<Session>, Outcome> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Whatever changes from here on is heard.
            changed.as_mut().enable();
            let mut why = None;
            let mut best: Option<Arc<Session>> = None;
            let mut may_come = false;
            for slot in self.slots().iter() {
                match slot {
                    Slot::Bound(session) if session.is_open() => {
                        if best.as_ref().is_none_or(|best| best.room() < session.room()) {
                            best = Some(Arc::clone(session));
                        }
                    }
                    Slot::Bound(_) | Slot::Connecting => may_come = true,
                    Slot::Resting(reason) => why = Some(reason.clone()),
                }
            }
            match (best, why) {
                (Some(session), _) => return Ok(session),
                (None, why) if !may_come => return Err(why.unwrap_or_else(no_session)),
                _ => {}
            }
            changed.await;
        }
    }

    /// Written once, by whichever session takes it.
    pub(super) async fn submit(
        &self,
        submit: &SubmitSm,
        leave: Leave<'_>,
    ) -> Result<Answer, Missed> {
        loop {
            let found = async {
                self.braked().await;
                self.session().await
            };
            let found = tokio::select! {
                biased;
                found = found => found,
                () = leave.over(|| false) => Err(nothing(leave)),
            };
            let session = found.map_err(|why| match why {
                Outcome::NotBegun => Missed::NotBegun,
                why => Missed::Unsent(why),
            })?;
            match session.submit(submit.clone(), leave).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::NotBegun) => return Err(Missed::NotBegun),
                Err(Lost::InDoubt(code)) => return Err(Missed::InDoubt(code)),
                Err(Lost::Unwritten) if Instant::now() < leave.until => {}
                Err(Lost::Unwritten) => return Err(Missed::NotBegun),
            }
        }
    }

    /// The SMSC said that it is too fast: nothing leaves for a while.
    pub(super) fn slow_down(&self) {
        *self.braking() = Some(Instant::now() + BRAKE);
    }

    async fn braked(&self) {
        let brake = *self.braking();
        if let Some(brake) = brake {
            sleep_until(brake).await;
        }
    }

    fn braking(&self) -> MutexGuard<'_, Option<Instant>> {
        self.brake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_session() -> Outcome {
    Outcome::Transient { code: "no_session".into(), retry_after: None }
}

/// Of a part that no session took in time: that there is none, unless a stop came first.
fn nothing(leave: Leave<'_>) -> Outcome {
    if Instant::now() < leave.until { Outcome::NotBegun } else { no_session() }
}

/// Before it is tried again: at once after a good session, and then later each time. Settings that
/// are wrong are not tried as long as nobody can have mended them.
fn rest(failures: u32, why: &Outcome) -> Duration {
    let asked = match why {
        Outcome::Transient { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let step = match failures {
        0 => Duration::ZERO,
        more => Duration::from_secs(1).saturating_mul(2_u32.saturating_pow((more - 1).min(16))),
    };
    let spread: f64 = rand::rng().random();
    step.min(LONGEST_REST).max(asked).mul_f64(0.5 + spread / 2.0)
}

pub(super) struct Call<'a>(&'a Pool);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.send_modify(|calls| *calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::verdict::misconfigured;

    #[test]
    fn rests_grow_and_have_an_end() {
        let lost = Outcome::Transient { code: "session_lost".into(), retry_after: None };
        assert_eq!(rest(0, &lost), Duration::ZERO);
        for (failures, most) in [(1, 1), (2, 2), (5, 16), (7, 60), (40, 60)] {
            let rest = rest(failures, &lost);
            let most = Duration::from_secs(most);
            assert!(rest >= most / 2 && rest <= most, "{failures}: {rest:?}");
        }
        assert!(rest(0, &misconfigured("authentication_refused")) >= Duration::from_secs(30));
    }
}
