//! Later attempts, and the sweep: batches with due rows, from the database alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_contracts::{ids::BatchId, jobs::v1::SendJob, vocabulary::WaitReason};
use carillon_service_kit::Stop;
use prost::Message as _;
use sea_orm::DbErr;
use tokio::sync::mpsc;

use crate::{
    ask::{Lines, Place},
    clearance::Boottime,
    deliver::DeliverError,
    funds::Funding,
    gateway::{Account, Gateway},
    open::{Header, OpenError, Opened},
    pace::Pace,
    send::Calls,
    start::Dispatcher,
    store::{self, Answer, Claim, ClaimKind, Due},
};

const BEAT: Duration = Duration::from_millis(250);
/// Batches taken in one round, at most; those in hand are passed over.
const AT_ONCE: usize = 64;
/// A batch whose turn does not come goes back, and is picked again.
const TURN_WITHIN: Duration = Duration::from_secs(30);

impl<G: Gateway> Dispatcher<G> {
    pub(crate) async fn retry(self, stop: Stop) -> Result<(), DbErr> {
        let mut lines = Lines::default();
        while stop.sleep(BEAT).await {
            let now_ms = self.store.clock.now_ms();
            let limit = AT_ONCE + self.in_hand.count();
            let reader = self.store.database.reader();
            let mut all_due = store::due_of_all_organisations(reader, now_ms, limit).await?;
            // The earliest deadline asks first.
            all_due.sort_by_key(|due| due.deadline_ms);
            for due in all_due {
                let Some(held) = self.in_hand.take(due.batch) else { continue };
                let place = due.is_short().then(|| lines.join(due.organisation));
                let (dispatcher, stopping) = (self.clone(), stop.clone());
                stop.spawn("retry", async move {
                    let batch = due.batch;
                    if let Err(error) = dispatcher.attempt(due, place, &stopping).await {
                        tracing::error!(%batch, %error, "due messages not tried");
                        stopping.sleep(Duration::from_secs(5)).await;
                    }
                    drop(held);
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
            self.claim_due(key, None, 0, Funding::Free, None, None).await;
            return Ok(());
        }
        let reader = self.store.database.reader();
        let Some(job) = store::job(reader, due.run_day, due.batch).await? else { return Ok(()) };
        let job = SendJob::decode(job.as_slice())
            .map_err(|error| OpenError::Damaged(error.to_string()))?;
        let header = Arc::new(Header::of(&job)?);
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
        self.send_due(calls, key, funding, stop).await
    }

    /// Claims and sends until nothing more is due, and waits until all of it is recorded.
    async fn send_due(
        &self,
        mut calls: Calls<G>,
        key: (i32, BatchId),
        funding: Funding,
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let (recorded, mut all_recorded) = mpsc::channel(1);
        let header = Some(&Arc::clone(&calls.header));
        loop {
            let latest = Instant::now() + TURN_WITHIN;
            calls.follow_settings().await;
            let account = Some(&calls.account);
            let pace = self.pace(&calls, calls.header.count(), latest).await?;
            if stop.is_stopping() {
                break;
            }
            let claimed_at = Boottime::now();
            let (permits, tokens) = match pace {
                Pace::Go { permits, tokens } => (permits, tokens),
                Pace::Wait { reason, until_ms } => {
                    let wait = Some((reason, until_ms));
                    self.claim_due(key, header, 0, funding, wait, account).await;
                    break;
                }
                Pace::Halted => {
                    self.claim_due(key, header, 0, funding, None, account).await;
                    break;
                }
                Pace::Late => break,
            };
            let Some(answer) =
                self.claim_due(key, header, permits.len(), funding, None, account).await
            else {
                break;
            };
            if answer.claimed.is_empty() {
                break;
            }
            calls.begin(answer, claimed_at, permits, tokens, &recorded);
        }
        drop(recorded);
        while all_recorded.recv().await.is_some() {}
        Ok(())
    }

    async fn claim_due(
        &self,
        key: (i32, BatchId),
        header: Option<&Arc<Header>>,
        permits: usize,
        funding: Funding,
        wait: Option<(WaitReason, i64)>,
        account: Option<&Arc<Account>>,
    ) -> Option<Answer> {
        let kind = ClaimKind::Due { header: header.cloned(), instead: None, wait };
        let account = account.cloned();
        let claim = Claim { key, number: 0, permits, funding, account, kind };
        self.committer.claim(claim).await
    }
}
