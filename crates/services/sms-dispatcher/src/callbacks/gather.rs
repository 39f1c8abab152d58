//! Callbacks come one by one and are stored together: one commit for as many as wait.

use std::{convert::Infallible, time::Duration};

use async_trait::async_trait;
use carillon_dispatch::{Evidence, EvidenceInbox};
use carillon_service_kit::Stop;
use sea_orm::DbErr;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

const MOST: usize = 500;
const LONGEST: Duration = Duration::from_millis(5);
/// Callbacks that wait at most; more than this, and their senders wait for room.
const WAITING: usize = 4 * MOST;
/// A provider is told to come again rather than kept for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where evidence is kept.
#[async_trait]
pub(crate) trait Inbox: Send + Sync + 'static {
    async fn keep(&self, evidence: Vec<Evidence>) -> Result<(), DbErr>;
}

#[async_trait]
impl Inbox for EvidenceInbox {
    async fn keep(&self, evidence: Vec<Evidence>) -> Result<(), DbErr> {
        EvidenceInbox::keep(self, evidence).await
    }
}

struct Waiting {
    evidence: Evidence,
    kept: oneshot::Sender<()>,
}

#[derive(Clone)]
pub(crate) struct Gatherer(mpsc::Sender<Waiting>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotKept;

impl Gatherer {
    /// Returns once it is on disk.
    pub(crate) async fn keep(&self, evidence: Evidence) -> Result<(), NotKept> {
        let (kept, hear) = oneshot::channel();
        let all = async {
            self.0.send(Waiting { evidence, kept }).await.map_err(|_| NotKept)?;
            hear.await.map_err(|_| NotKept)
        };
        timeout(PATIENCE, all).await.map_err(|_| NotKept)?
    }
}

/// Stores what comes until stopping, and then what has come.
pub(crate) fn gather(inbox: impl Inbox, stop: &Stop) -> Gatherer {
    let (send, mut hear) = mpsc::channel::<Waiting>(WAITING);
    let stopping = stop.clone();
    stop.spawn("receipts", async move {
        loop {
            tokio::select! {
                biased;
                () = stopping.requested(), if !hear.is_closed() => hear.close(),
                first = hear.recv() => match first {
                    Some(first) => store(&inbox, first, &mut hear).await,
                    None => break,
                },
            }
        }
        Ok::<(), Infallible>(())
    });
    Gatherer(send)
}

async fn store(inbox: &impl Inbox, first: Waiting, hear: &mut mpsc::Receiver<Waiting>) {
    let mut waiting = vec![first];
    let until = Instant::now() + LONGEST;
    while waiting.len() < MOST {
        match timeout_at(until, hear.recv()).await {
            Ok(Some(next)) => waiting.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    let (evidence, kept): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|waiting| (waiting.evidence, waiting.kept)).unzip();
    match inbox.keep(evidence).await {
        Ok(()) => {
            for kept in kept {
                // Whoever asked may be gone.
                let _ = kept.send(());
            }
        }
        Err(error) => tracing::error!(%error, count = kept.len(), "receipts could not be stored"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use carillon_contracts::ids::{MessageId, OrganisationId};
    use carillon_dispatch::Says;

    use super::*;

    /// Keeps the size of each insert; refuses where `fails`.
    #[derive(Clone, Default)]
    struct Counting {
        inserts: Arc<Mutex<Vec<usize>>>,
        fails: bool,
    }

    #[async_trait]
    impl Inbox for Counting {
        async fn keep(&self, evidence: Vec<Evidence>) -> Result<(), DbErr> {
            self.inserts.lock().expect("unpoisoned").push(evidence.len());
            tokio::task::yield_now().await;
            if self.fails { Err(DbErr::Custom("gone".into())) } else { Ok(()) }
        }
    }

    fn one() -> Evidence {
        Evidence {
            organisation: OrganisationId::new(uuid::Uuid::from_u128(1)),
            run_day: 1,
            message: MessageId::new(uuid::Uuid::from_u128(2)),
            says: Says::Delivered,
            provider_code: String::new(),
        }
    }

    #[tokio::test]
    async fn many_at_once_are_stored_together_and_each_is_answered() {
        let (inbox, stop) = (Counting::default(), Stop::new());
        let gatherer = gather(inbox.clone(), &stop);
        let calls = (0..2_000).map(|_| {
            let gatherer = gatherer.clone();
            tokio::spawn(async move { gatherer.keep(one()).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.expect("it ends"), Ok(()));
        }
        let inserts = inbox.inserts.lock().expect("unpoisoned").clone();
        assert_eq!(inserts.iter().sum::<usize>(), 2_000);
        assert!(inserts.iter().all(|count| *count <= MOST), "{inserts:?}");
        assert!(inserts.len() < 200, "{} inserts", inserts.len());
    }

    #[tokio::test]
    async fn what_was_not_stored_is_not_answered_as_if_it_were() {
        let (inbox, stop) = (Counting { fails: true, ..Counting::default() }, Stop::new());
        let gatherer = gather(inbox, &stop);
        assert_eq!(gatherer.keep(one()).await, Err(NotKept));
    }

    #[tokio::test]
    async fn a_stop_stores_what_came_and_takes_no_more() {
        let (inbox, stop) = (Counting::default(), Stop::new());
        let gatherer = gather(inbox, &stop);
        assert_eq!(gatherer.keep(one()).await, Ok(()));
        stop.now();
        assert!(stop.drained(Duration::from_secs(60)).await);
        assert_eq!(gatherer.keep(one()).await, Err(NotKept));
    }
}
