//! Which message a receipt of an SMSC is about. An SMSC knows its own ids alone, so they are kept
//! with what they stand for; receipts are kept beside them, for one may come first, or at another
//! replica. Both are stored together, one commit for as many as wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_dispatch::Says;
use carillon_service_kit::Stop;
use sea_orm::DbErr;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    gateway::Routes,
    store::{Accepted, Key, SmscStore, Told},
};

const MOST: usize = 500;
const LONGEST: Duration = Duration::from_millis(5);
/// What waits at most; more than this, and whoever brings it waits for room.
const WAITING: usize = 4 * MOST;
/// An SMSC is told to come again rather than kept for longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for receipts whose parts came by another way.
const SWEEP: Duration = Duration::from_secs(5);
/// A receipt that is older belongs to nothing of ours, but at the start.
const SWEPT_MS: i64 = 10 * 60_000;
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
const KEPT_MS: i64 = 7 * 86_400_000;
/// For so long after the last message sessions are held open for what may come through them.
const AWAITED_MS: i64 = 3 * 86_400_000;
const HOLD_EVERY: Duration = Duration::from_secs(30);
const LONGEST_ID: usize = 64;

/// One SMSC account of one organisation.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub organisation: OrganisationId,
    pub name: Arc<str>,
}

impl Account {
    /// None where nothing could be found under it again.
    fn key(&self, id: &str) -> Option<Key> {
        let plain = id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        let short = id.trim_start_matches('0');
        let smsc_id = match (short, id) {
            _ if !plain => return None,
            ("", "") => return None,
            ("", _) => "0".to_owned(),
            (short, _) => short.to_ascii_lowercase(),
        };
        let (organisation, account) = (self.organisation, self.name.to_string());
        Some(Key { organisation, account, smsc_id })
    }
}

enum Item {
    Accepted(Accepted),
    Told(Told),
}

struct Waiting {
    items: Vec<Item>,
    kept: oneshot::Sender<()>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotKept;

/// Where sessions leave what they hear.
#[derive(Clone)]
pub(crate) struct Correlation(mpsc::Sender<Waiting>);

/// What becomes of it.
pub(crate) struct Correlating(mpsc::Receiver<Waiting>);

impl Correlation {
    pub(crate) fn new() -> (Self, Correlating) {
        let (send, hear) = mpsc::channel(WAITING);
        (Self(send), Correlating(hear))
    }

    /// The ids that an SMSC gave to the parts of a message, by their numbers; `parts` in all.
    pub(crate) async fn accepted(
        &self,
        account: &Account,
        (run_day, message): (i32, MessageId),
        ids: &[(u32, String)],
        parts: u32,
    ) -> Result<(), NotKept> {
        let each = ids.iter().filter_map(|(part, id)| {
            let key = account.key(id)?;
            Some(Item::Accepted(Accepted { key, run_day, message, part: *part, parts }))
        });
        self.keep(each.collect()).await
    }

    pub(crate) async fn told(
        &self,
        account: &Account,
        id: &str,
        says: Says,
        code: String,
    ) -> Result<(), NotKept> {
        let Some(key) = account.key(id) else { return Ok(()) };
        let (as_hex, as_decimal) = other_bases(&key.smsc_id);
        self.keep(vec![Item::Told(Told { key, as_hex, as_decimal, says, code })]).await
    }

    /// Returns once it is on disk.
    async fn keep(&self, items: Vec<Item>) -> Result<(), NotKept> {
        if items.is_empty() {
            return Ok(());
        }
        let (kept, hear) = oneshot::channel();
        let all = async {
            self.0.send(Waiting { items, kept }).await.map_err(|_| NotKept)?;
            hear.await.map_err(|_| NotKept)
        };
        timeout(PATIENCE, all).await.map_err(|_| NotKept)?
    }
}

/// Some SMSCs give an id in hexadecimal digits and name it in decimal ones later, or the other way
/// round. Empty where it can be no such number.
fn other_bases(id: &str) -> (String, String) {
    let decimal: Option<u128> = id.parse().ok();
    let hex = u128::from_str_radix(id, 16).ok();
    let as_hex = decimal.map(|number| format!("{number:x}")).unwrap_or_default();
    (as_hex, hex.map(|number| number.to_string()).unwrap_or_default())
}

impl Correlating {
    /// Stores what comes for as long as anybody may bring something: what was taken while stopping
    /// is stored, too.
    pub(crate) fn begin(self, store: SmscStore) {
        tokio::spawn(self.run(store));
    }

    async fn run(mut self, store: SmscStore) {
        tell_of(store.join_all_organisations(0).await);
        let mut forgotten_at = None::<Instant>;
        let mut sweep_at = Instant::now() + SWEEP;
        loop {
            match timeout_at(sweep_at, self.0.recv()).await {
                Ok(Some(first)) => self.store(&store, first).await,
                Ok(None) => break,
                Err(_) => {
                    let now_ms = store.clock.now_ms();
                    tell_of(store.join_all_organisations(now_ms - SWEPT_MS).await);
                    if forgotten_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
                        forgotten_at = Some(Instant::now());
                        tell_of(store.forget_of_all_organisations(now_ms - KEPT_MS).await);
                    }
                    sweep_at = Instant::now() + SWEEP;
                }
            }
        }
    }

    async fn store(&mut self, store: &SmscStore, first: Waiting) {
        let mut waiting = vec![first];
        let until = Instant::now() + LONGEST;
        while waiting.len() < MOST {
            match timeout_at(until, self.0.recv()).await {
                Ok(Some(next)) => waiting.push(next),
                Ok(None) | Err(_) => break,
            }
        }
        let (mut accepted, mut told, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for one in waiting {
            kept.push(one.kept);
            for item in one.items {
                match item {
                    Item::Accepted(one) => accepted.push(one),
                    Item::Told(one) => told.push(one),
                }
            }
        }
        if let Err(error) = store.keep(&accepted, &told).await {
            tracing::error!(%error, count = kept.len(), "an SMSC's ids or receipts were not stored");
            return;
        }
        for kept in kept {
            // Whoever asked may be gone.
            let _ = kept.send(());
        }
        let keys: BTreeSet<Key> = accepted
            .into_iter()
            .map(|one| one.key)
            .chain(told.into_iter().map(|one| one.key))
            .collect();
        tell_of(store.join(&keys).await);
    }
}

/// What was not joined now is joined at the next sweep.
fn tell_of(result: Result<(), DbErr>) {
    if let Err(error) = result {
        tracing::error!(%error, "receipts of SMSCs could not be applied; trying again");
    }
}

/// Holds the sessions open through which receipts may still come, until stopping.
pub(crate) async fn hold(store: SmscStore, routes: Arc<Routes>, stop: Stop) -> Result<(), DbErr> {
    loop {
        let since_ms = store.clock.now_ms() - AWAITED_MS;
        for organisation in store.awaiting_of_all_organisations(since_ms).await? {
            if let Ok(route) = routes.of(organisation).await {
                route.hold(since_ms);
            }
        }
        if !stop.sleep(HOLD_EVERY).await {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
