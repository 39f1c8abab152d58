//! Gathers what deliveries want written into micro-batches: while one commit is under way, the
//! next one fills up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use carillon_contracts::ids::BatchId;
use carillon_service_kit::{Stop, database::is_transient};
use sea_orm::DbErr;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    permits::MICRO_BATCH,
    store::{Answer, Claim, Record, Recorded, Step, Store},
};

const BACK_OFF: Duration = Duration::from_millis(200);
const TRIES_WHILE_STOPPING: u32 = 20;
/// How long a few records wait for more, so that one commit serves many. A claim waits for nothing.
const LINGER: Duration = Duration::from_millis(4);

/// Keeps a delivery waiting until its message is recorded.
pub(crate) type Unrecorded = mpsc::Sender<()>;

enum Request {
    Record { record: Record, _permit: OwnedSemaphorePermit, _unrecorded: Unrecorded },
    Claim { claim: Claim, answer: oneshot::Sender<Answer> },
}

impl Request {
    fn can_wait(&self) -> bool {
        matches!(self, Self::Record { .. })
    }
}

#[derive(Clone)]
pub(crate) struct Committer {
    requests: mpsc::UnboundedSender<Request>,
    claims: Arc<AtomicI64>,
}

impl Committer {
    /// Ends once every handle is gone and all that was asked for is written.
    pub(crate) fn spawn(store: Store, epoch: i64, stop: &Stop) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        stop.spawn("dispatch committer", commit_all(store, epoch, incoming, stop.clone()));
        Self { requests, claims: Arc::default() }
    }

    /// The message's permit is given back once the record is committed.
    pub(crate) fn record(
        &self,
        key: (i32, BatchId),
        recorded: Recorded,
        permit: OwnedSemaphorePermit,
        unrecorded: Unrecorded,
    ) {
        let record = Record { key, recorded };
        let request = Request::Record { record, _permit: permit, _unrecorded: unrecorded };
        // Without a committer the process is ending; the row is taken over at the next start.
        let _ = self.requests.send(request);
    }

    /// Numbers the claim and carries it out; `None` when the process is ending, or the
    /// batch cannot be written.
    pub(crate) async fn claim(&self, mut claim: Claim) -> Option<Answer> {
        claim.number = self.claims.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Claim { claim, answer }).ok()?;
        answered.await.ok()
    }
}

async fn commit_all(
    store: Store,
    epoch: i64,
    mut incoming: mpsc::UnboundedReceiver<Request>,
    stop: Stop,
) -> Result<(), DbErr> {
    let mut requests = Vec::new();
    while incoming.recv_many(&mut requests, 4 * MICRO_BATCH).await > 0 {
        let linger = tokio::time::Instant::now() + LINGER;
        while requests.len() < MICRO_BATCH && requests.iter().all(Request::can_wait) {
            let more = incoming.recv_many(&mut requests, 4 * MICRO_BATCH);
            match tokio::time::timeout_at(linger, more).await {
                Ok(1..) => {}
                _ => break,
            }
        }
        let mut step = Step { epoch, ..Step::default() };
        let mut answers = Vec::new();
        let mut held = Vec::new();
        for request in requests.drain(..) {
            match request {
                Request::Record { record, _permit, _unrecorded } => {
                    step.records.push(record);
                    held.push((_permit, _unrecorded));
                }
                Request::Claim { claim, answer } => {
                    step.claims.push(claim);
                    answers.push(answer);
                }
            }
        }
        let written = commit(&store, step, &stop).await?;
        drop(held);
        for (answer, written) in answers.into_iter().zip(written) {
            if let Some(written) = written {
                let _ = answer.send(written);
            }
        }
    }
    Ok(())
}

/// Writes the step; what cannot be written, for a reason that will not pass, is set aside by the
/// batch, so that one damaged row does not hold up all others. Its claims get no answer.
async fn commit(store: &Store, step: Step, stop: &Stop) -> Result<Vec<Option<Answer>>, DbErr> {
    let mut tries = 0;
    loop {
        match store.step(&step).await {
            Ok(answers) => return Ok(answers.into_iter().map(Some).collect()),
            Err(error) if is_transient(&error) => {
                tries += 1;
                if stop.is_stopping() && tries > TRIES_WHILE_STOPPING {
                    return Err(error);
                }
                tracing::error!(%error, "messages not recorded; trying again");
                tokio::time::sleep(BACK_OFF).await;
            }
            Err(_) => break,
        }
    }
    let mut answers: Vec<Option<Answer>> = step.claims.iter().map(|_| None).collect();
    for (key, alone, claims) in step.by_batch() {
        match store.step(&alone).await {
            Ok(written) => {
                for (index, answer) in claims.into_iter().zip(written) {
                    answers[index] = Some(answer);
                }
            }
            Err(error) => {
                tracing::error!(batch = %key.1, %error, "a batch's messages cannot be recorded");
            }
        }
    }
    Ok(answers)
}
