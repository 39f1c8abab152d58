//! Later attempts, and the sweep: batches with due rows, from the database alone.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_contracts::{
    ids::BatchId,
    jobs::v1::SendJob,
    vocabulary::{ChannelWord as _, WaitReason},
};
use carillon_service_kit::{Stop, panics::caught, telemetry};
use prost::Message as _;
use sea_orm::DbErr;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;

use crate::{
    ask::{Lines, Place},
    clearance::Boottime,
    deliver::DeliverError,
    domain::claim::ASK_AGAIN_MS,
    funds::Funding,
    gateway::Gateway,
    open::{Header, OpenError, Opened},
    pace::Pace,
    send::Calls,
    start::Dispatcher,
    store::{self, Answer, Claim, ClaimKind, Due, Which},
};

const BEAT: Duration = Duration::from_millis(250);
/// Batches taken in one round, at most; those in hand are passed over.
const A_ROUND: usize = 64;
/// Batches worked on at a time: memory does not grow with what waits. A place comes free every
/// moment, and the next batch is picked round-robin by organisation.
const AT_ONCE: usize = 128;
/// A batch whose turn does not come goes back, and is picked again.
const TURN_WITHIN: Duration = Duration::from_secs(30);

impl<G: Gateway> Dispatcher<G> {
    pub(crate) async fn retry(self, stop: Stop) -> Result<(), DbErr> {
        let rooms = Arc::new(Semaphore::new(AT_ONCE));
        let mut lines = Lines::default();
        while stop.sleep(BEAT).await {
            let now_ms = self.store.clock.now_ms();
            let limit = A_ROUND + self.in_hand.count();
            let reader = self.store.database.reader();
            let mut taken = Vec::new();
            for due in store::due_of_all_organisations(reader, now_ms, limit).await? {
                let Some(held) = self.in_hand.take(due.batch) else { continue };
                let Ok(room) = Arc::clone(&rooms).try_acquire_owned() else { break };
                taken.push((due, held, room));
            }
            // Organisations come in turn; of what is taken the earliest deadline asks first.
            taken.sort_by_key(|(due, ..)| due.deadline_ms);
            for (due, held, room) in taken {
                let place = due.is_short().then(|| lines.join(due.organisation));
                let (dispatcher, stopping) = (self.clone(), stop.clone());
                stop.spawn("retry", async move {
                    let batch = due.batch;
                    let tried = caught(dispatcher.attempt(due, place, &stopping)).await;
                    if let Err(error) = tried.unwrap_or_else(|panicked| Err(panicked.into())) {
                        tracing::error!(%batch, %error, "due messages not tried");
                        stopping.sleep(Duration::from_secs(5)).await;
                    }
                    drop((held, room));
                    Ok::<(), DbErr>(())
                });
            }
        }
        Ok(())
    }

    async fn attempt(
        &self,
        due: Due,
        place: Option<Place>,
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let key = (due.run_day, due.batch);
        let past_deadline = self.store.clock.now_ms() >= due.deadline_ms;
        if past_deadline {
            // Nothing is sent any more, or asked for: without permits the claim only settles.
            drop(place);
            self.claim_due(key, None, 0, Funding::Free, None, Which::Ours).await;
            return Ok(());
        }
        let reader = self.store.database.reader();
        let Some(job) = store::job(reader, due.run_day, due.batch).await? else { return Ok(()) };
        let job = SendJob::decode(job.as_slice())
            .map_err(|error| OpenError::Damaged(error.to_string()))?;
        let header = Arc::new(Header::of(&job)?);
        let span = span_of(&due, &job, &header);
        let traceparent = span.in_scope(telemetry::traceparent);
        let _traced = self.store.traces.keep(due.batch, traceparent);
        self.try_again((due, place), &job, header, stop).instrument(span).await
    }

    async fn try_again(
        &self,
        (due, place): (Due, Option<Place>),
        job: &SendJob,
        header: Arc<Header>,
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let key = (due.run_day, due.batch);
        let (Some(block), Some(content)) = (&job.block, &job.content) else {
            return Err(OpenError::Damaged("a kept job without its block".into()).into());
        };
        let opened = Opened::open(&*self.gateway, &self.key, &header, block, content)?;
        let calls = self.calls(&header, opened).await;
        let funding = match (&self.funds, place) {
            (None, _) => Funding::Free,
            (Some(_), Some(place)) => self.fund_waiting(&calls, due.wanted, place).await?,
            // The grant in the row counts; nothing new is asked for.
            (Some(_), None) => Funding::Granted { units: 0, raises: 0 },
        };
        let elsewhere = self.send_due(calls.clone(), key, funding, stop).await?;
        for account in elsewhere {
            self.send_due(calls.clone().in_doubt_at(&account), key, funding, stop).await?;
        }
        Ok(())
    }

    /// Claims and sends until nothing more is due, and waits until all of it is recorded. Answers
    /// the accounts at which some of what is left is in doubt.
    async fn send_due(
        &self,
        mut calls: Calls<G>,
        key: (i32, BatchId),
        funding: Funding,
        stop: &Stop,
    ) -> Result<BTreeSet<String>, DeliverError> {
        let (recorded, mut all_recorded) = mpsc::channel(1);
        let which = if calls.in_doubt { Which::Doubtful } else { Which::Ours };
        let mut elsewhere = BTreeSet::new();
        loop {
            let latest = Instant::now() + TURN_WITHIN;
            if !calls.follow_settings().await {
                // Perhaps not for long.
                let until_ms = self.store.clock.now_ms() + ASK_AGAIN_MS;
                let wait = Some((WaitReason::Retrying, until_ms));
                self.claim_due(key, Some(&calls), 0, funding, wait, which).await;
                break;
            }
            let most = self.most_due(&calls, key).await?;
            let pace = self.pace(&calls, most, latest, stop).await?;
            if stop.is_stopping() {
                break;
            }
            let claimed_at = Boottime::now();
            // Without permits a claim only tells why its rows wait.
            let (permits, tokens, wait) = match pace {
                Pace::Go { permits, tokens } => (permits, tokens, None),
                Pace::Wait { reason, until_ms } => (Vec::new(), None, Some((reason, until_ms))),
                Pace::Nothing => (Vec::new(), None, None),
                Pace::Late => break,
            };
            let Some(answer) =
                self.claim_due(key, Some(&calls), permits.len(), funding, wait, which).await
            else {
                break;
            };
            elsewhere.extend(answer.elsewhere.iter().cloned());
            if answer.claimed.is_empty() {
                break;
            }
            calls.begin(answer, claimed_at, permits, tokens, &recorded);
        }
        drop(recorded);
        while all_recorded.recv().await.is_some() {}
        Ok(elsewhere)
    }

    /// Of a throttled account's tokens no more are asked for than there are rows to use them.
    async fn most_due(&self, calls: &Calls<G>, key: (i32, BatchId)) -> Result<usize, DbErr> {
        if calls.account.throttle.is_none() {
            return Ok(calls.header.count());
        }
        let (reader, now_ms) = (self.store.database.reader(), self.store.clock.now_ms());
        store::count_due(reader, key, now_ms).await
    }

    async fn claim_due(
        &self,
        key: (i32, BatchId),
        calls: Option<&Calls<G>>,
        permits: usize,
        funding: Funding,
        wait: Option<(WaitReason, i64)>,
        which: Which,
    ) -> Option<Answer> {
        let header = calls.map(|calls| Arc::clone(&calls.header));
        let account = calls.map(|calls| Arc::clone(&calls.account));
        let addressees = calls.map(|calls| Arc::clone(&calls.addressees)).unwrap_or_default();
        let kind = ClaimKind::Due { header, instead: None, wait, which };
        let claim = Claim { key, number: 0, permits, funding, account, addressees, kind };
        self.committer.claim(claim).await
    }
}

/// Goes on in the batch's trace, and names the attempt that left something to do.
fn span_of(due: &Due, job: &SendJob, header: &Header) -> tracing::Span {
    let channel = header.channel.word();
    let span = tracing::info_span!("retry batch", batch = %header.batch, channel);
    telemetry::with_remote_parent(&span, &job.traceparent);
    telemetry::link(&span, &due.traceparent);
    span
}
