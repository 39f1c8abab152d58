//! Gathers what deliveries want written into micro-batches: while one commit is under way, the
//! next one fills up.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use carillon_contracts::{
    ids::BatchId,
    jobs::v1::Channel,
    vocabulary::{ChannelWord as _, MessageState, WaitReason},
};
use carillon_service_kit::{Stop, database::is_transient, metrics::CLAIM_SECONDS};
use sea_orm::DbErr;
use tokio::sync::{mpsc, oneshot};

use crate::{
    claims_in_hand::ClaimsInHand,
    heartbeat::Heartbeat,
    permits::{MICRO_BATCH, Permit},
    store::{Answer, Claim, Record, Recorded, Step, StepError, Store},
};

const BACK_OFF: Duration = Duration::from_millis(200);
const TRIES_WHILE_STOPPING: u32 = 20;
/// How long a few records wait for more, so that one commit serves many. A claim waits for nothing.
const LINGER: Duration = Duration::from_millis(4);

/// Keeps a delivery waiting until its message is recorded.
pub(crate) type Unrecorded = mpsc::Sender<()>;

enum Request {
    Record {
        record: Record,
        _permit: Permit,
        _unrecorded: Unrecorded,
    },
    /// A row that was never handed over, so that nobody waits for its record.
    GiveBack {
        record: Record,
    },
    Claim {
        claim: Claim,
        answer: oneshot::Sender<Answer>,
    },
}

impl Request {
    fn can_wait(&self) -> bool {
        !matches!(self, Self::Claim { .. })
    }
}

#[derive(Clone)]
pub(crate) struct Committer {
    requests: mpsc::UnboundedSender<Request>,
    numbers: Arc<AtomicI64>,
    claims: ClaimsInHand,
}

impl Committer {
    /// Ends once every handle is gone and all that was asked for is written.
    pub(crate) fn spawn(store: Store, heartbeat: Heartbeat, channel: Channel, stop: &Stop) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        let claims = ClaimsInHand::default();
        let writer =
            Writer { store, heartbeat, channel, claims: claims.clone(), stop: stop.clone() };
        stop.spawn("dispatch committer", writer.commit_all(incoming));
        Self { requests, numbers: Arc::default(), claims }
    }

    pub(crate) fn claims_in_hand(&self) -> ClaimsInHand {
        self.claims.clone()
    }

    /// The message's permit is given back once the record is committed.
    pub(crate) fn record(
        &self,
        key: (i32, BatchId),
        recorded: Recorded,
        permit: Permit,
        unrecorded: Unrecorded,
    ) {
        let record = Record { key, recorded };
        let request = Request::Record { record, _permit: permit, _unrecorded: unrecorded };
        // Without a committer the process is ending; the row is taken over by another.
        let _ = self.requests.send(request);
    }

    /// Numbers the claim and carries it out; `None` when the process is ending, or the
    /// batch cannot be written.
    pub(crate) async fn claim(&self, mut claim: Claim) -> Option<Answer> {
        claim.number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.claims.committing(claim.number);
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Claim { claim, answer }).ok()?;
        answered.await.ok()
    }

    /// Gives back what the database has in `sending` under claims that nobody here knows of. A
    /// claim is known before it is committed, so its rows cannot be seen before that.
    pub(crate) async fn read_back(&self, store: &Store, epoch: i64) -> Result<(), DbErr> {
        // Taken before the rows are read: a claim that is recorded meanwhile was known, and one
        // that is made meanwhile has a later number.
        let (known, next) = (self.claims.known(), self.numbers.load(Ordering::Relaxed));
        for row in store.sending_of(epoch).await? {
            if row.claim.number >= next || known.contains(&row.claim.number) {
                continue;
            }
            tracing::warn!(message_id = %row.message, "claimed and never handed over; given back");
            let recorded = Recorded {
                message: row.message,
                claim: row.claim,
                keep_attempt: row.attempt.saturating_sub(1),
                state: MessageState::Queued,
                reason: WaitReason::Backlog.word(),
                next_attempt_ms: Some(store.clock.now_ms()),
                provider_id: String::new(),
                provider_code: String::new(),
                provider_parts: None,
            };
            let record = Record { key: row.key, recorded };
            let _ = self.requests.send(Request::GiveBack { record });
        }
        Ok(())
    }
}

struct Writer {
    store: Store,
    heartbeat: Heartbeat,
    channel: Channel,
    claims: ClaimsInHand,
    stop: Stop,
}

impl Writer {
    async fn commit_all(self, mut incoming: mpsc::UnboundedReceiver<Request>) -> Result<(), DbErr> {
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
            self.carry_out(requests.drain(..)).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, requests: impl Iterator<Item = Request>) -> Result<(), DbErr> {
        let mut step = Step { epoch: self.heartbeat.epoch(), ..Step::default() };
        let (mut answers, mut held) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Record { record, _permit, _unrecorded } => {
                    held.push((record.recorded.claim.number, record.key, _permit, _unrecorded));
                    step.records.push(record);
                }
                Request::GiveBack { record } => step.records.push(record),
                Request::Claim { claim, answer } => {
                    answers.push((claim.number, answer));
                    step.claims.push(claim);
                }
            }
        }
        let begun = Instant::now();
        let (written, unwritten) = self.commit(step).await?;
        let channel = self.channel.word();
        metrics::histogram!(CLAIM_SECONDS, "channel" => channel).record(begun.elapsed());
        for (claim, key, ..) in &held {
            // Nobody knows in the database what became of it: it must not look as if it had never
            // been handed over. Whoever takes this worker over makes it `unknown`.
            match unwritten.contains(key) {
                true => self.claims.left(*claim),
                false => self.claims.recorded(*claim),
            }
        }
        drop(held);
        for ((number, answer), written) in answers.into_iter().zip(written) {
            let Some(written) = written else {
                self.claims.given_up(number);
                continue;
            };
            // Known as handed over before the first of its records can come.
            self.claims.handed_over(number, written.claimed.len());
            if answer.send(written).is_err() {
                self.claims.given_up(number);
            }
        }
        Ok(())
    }

    /// Writes the step; what cannot be written, for a reason that will not pass, is set aside by
    /// the batch, so that one damaged row does not hold up all others. Its claims get no answer,
    /// and it is named.
    async fn commit(
        &self,
        mut step: Step,
    ) -> Result<(Vec<Option<Answer>>, BTreeSet<(i32, BatchId)>), DbErr> {
        let mut unwritten = BTreeSet::new();
        if let Some(answers) = self.write(&mut step).await? {
            return Ok((answers.into_iter().map(Some).collect(), unwritten));
        }
        let mut answers: Vec<Option<Answer>> = step.claims.iter().map(|_| None).collect();
        for (key, mut alone, claims) in step.by_batch() {
            match self.write(&mut alone).await? {
                Some(written) => {
                    for (index, answer) in claims.into_iter().zip(written) {
                        answers[index] = Some(answer);
                    }
                }
                None => {
                    tracing::error!(batch = %key.1, "a batch's messages cannot be recorded");
                    unwritten.insert(key);
                }
            }
        }
        Ok((answers, unwritten))
    }

    /// Tries until the step is written; `None` where it never will be. A commit whose answer was
    /// lost is not given up: the step is carried out again, and answers what it took.
    async fn write(&self, step: &mut Step) -> Result<Option<Vec<Answer>>, DbErr> {
        let mut tries = 0;
        loop {
            let failed = match self.store.step(step).await {
                Ok(answers) => return Ok(Some(answers)),
                Err(StepError::Fenced) => match self.heartbeat.renew(step.epoch).await {
                    Ok(epoch) => {
                        step.epoch = epoch;
                        continue;
                    }
                    Err(error) => error,
                },
                Err(StepError::Database(error)) => error,
            };
            if !is_transient(&failed) {
                tracing::error!(error = %failed, "messages cannot be recorded");
                return Ok(None);
            }
            tries += 1;
            if self.stop.is_stopping() && tries > TRIES_WHILE_STOPPING {
                return Err(failed);
            }
            tracing::error!(error = %failed, "messages not recorded; trying again");
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}
