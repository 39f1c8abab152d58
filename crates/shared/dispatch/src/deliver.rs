//! A delivered batch, from the broker to its acknowledgement. It is acked once it is accepted:
//! every recipient has a row, nothing is unrecorded, and what is open goes on from the database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_broker::{Consumer, Delivery, topology};
use carillon_contracts::{
    jobs::v1::{Cause, SendJob},
    vocabulary::{ChannelWord as _, MessageState, WaitReason},
};
use carillon_outbox::parked;
use carillon_service_kit::{
    Stop, faults,
    panics::{Panicked, caught},
    telemetry,
};
use prost::Message as _;
use sea_orm::DbErr;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::{
    clearance::Boottime,
    domain::addressee::End,
    funds::Funding,
    gateway::Gateway,
    open::{Header, OpenError, Opened},
    pace::Pace,
    permits::MICRO_BATCH,
    send::{Calls, turn},
    start::Dispatcher,
    store::{self, Claim, ClaimKind, Which},
};

/// Batches in hand, at most.
const PREFETCH: u16 = 64;
/// Deliveries after which a job that cannot be read, or makes its delivery panic, is parked.
const POISON: u32 = 5;
/// How long a delivery whose batch is in hand waits before it looks again.
const IN_HAND_PAUSE: Duration = Duration::from_millis(100);
/// A delivery not begun by then, or unfinished, is cut: what is left goes on without the broker.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);
const CUT_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error("nobody writes what it asks for")]
    Stopping,
    /// A twin of the delivery, or a retry, is working on it.
    #[error("the batch is in hand already")]
    InHand,
    /// Another worker has messages of it in hand, or had them when it died.
    #[error("messages of the batch are another worker's, and not recorded yet")]
    NotAccepted,
}

impl<G: Gateway> Dispatcher<G> {
    pub(crate) async fn consume(self, class: &'static str, stop: Stop) -> Result<(), DbErr> {
        let queue = topology::job_queue(self.gateway.channel().word(), class);
        while !stop.is_stopping() {
            match self.broker.consume(&queue, PREFETCH).await {
                Ok(consumer) => self.hear(&queue, consumer, &stop).await,
                Err(error) => {
                    tracing::warn!(queue, %error, "not consuming; trying again");
                    stop.sleep(Duration::from_secs(1)).await;
                }
            }
        }
        Ok(())
    }

    async fn hear(&self, queue: &str, mut consumer: Box<dyn Consumer>, stop: &Stop) {
        loop {
            let delivery = tokio::select! {
                () = stop.requested() => return,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            let (dispatcher, stopping) = (self.clone(), stop.clone());
            let queue = queue.to_owned();
            stop.spawn("delivery", async move {
                dispatcher.deliver(&queue, delivery, &stopping).await;
                Ok::<(), DbErr>(())
            });
        }
    }

    async fn deliver(&self, queue: &str, delivery: Delivery, stop: &Stop) {
        let done = caught(self.carry_out(&delivery, stop)).await;
        match done.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(()) => {
                faults::point("dispatch.ack");
                delivery.ack();
            }
            Err(DeliverError::Stopping) if stop.is_stopping() => delivery.requeue(),
            Err(DeliverError::InHand) => {
                stop.sleep(IN_HAND_PAUSE).await;
                delivery.requeue();
            }
            Err(error @ (DeliverError::Open(_) | DeliverError::Panicked(_)))
                if delivery.delivery_count + 1 >= POISON =>
            {
                self.park(queue, delivery, &error.to_string()).await;
            }
            Err(error) => {
                let tries = delivery.delivery_count + 1;
                match error {
                    DeliverError::NotAccepted => tracing::warn!(
                        %error,
                        tries,
                        "batch waits for its worker, or for the takeover of a dead one; delivered again"
                    ),
                    _ => tracing::error!(%error, tries, "batch not carried out; delivered again"),
                }
                stop.sleep(Duration::from_millis(200) * tries.min(50)).await;
                delivery.requeue();
            }
        }
    }

    /// A job that nobody can carry out is set aside for an operator, and the rest flows.
    async fn park(&self, queue: &str, delivery: Delivery, error: &str) {
        let (database, clock) = (&self.store.database, &self.store.clock);
        match parked::park_unnumbered(database, clock, queue, &delivery.body, error).await {
            Ok(()) => {
                tracing::error!(queue, error, "job parked");
                delivery.ack();
            }
            Err(failed) => {
                tracing::error!(queue, error, %failed, "job not parked; delivered again");
                delivery.requeue();
            }
        }
    }

    async fn carry_out(&self, delivery: &Delivery, stop: &Stop) -> Result<(), DeliverError> {
        faults::point("dispatch.delivered");
        let job = SendJob::decode(delivery.body.clone())
            .map_err(|error| OpenError::Damaged(error.to_string()))?;
        let mut header = Header::of(&job)?;
        let _held = self.in_hand.take(header.batch).ok_or(DeliverError::InHand)?;
        let channel = header.channel.word();
        let span = tracing::info_span!("send batch", otel.kind = "consumer", batch = %header.batch, channel);
        telemetry::with_remote_parent(&span, &job.traceparent);
        let traceparent = span.in_scope(telemetry::traceparent);
        if !traceparent.is_empty() {
            header.traceparent.clone_from(&traceparent);
        }
        let _traced = self.store.traces.keep(header.batch, traceparent);
        self.send(&job, &Arc::new(header), &delivery.body, stop).instrument(span).await
    }

    async fn send(
        &self,
        job: &SendJob,
        header: &Arc<Header>,
        body: &[u8],
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let kept = self.store.database.reader();
        let known = store::accepted(kept, header.run_day, header.batch).await?;
        if known == Some(true) {
            return self.accept(header, 0, Vec::new()).await;
        }
        if let Some(end) = self.end_without_sending(header) {
            return self.settle_unsent(header, end).await;
        }
        let (Some(block), Some(content)) = (&job.block, &job.content) else {
            return Err(OpenError::Damaged("a job without its block".into()).into());
        };
        let opened = Opened::open(&*self.gateway, &self.key, header, block, content)?;
        let wanted = opened.wanted();
        let calls = self.calls(header, opened).await;
        let funding = self.fund_delivered(&calls, known.is_some()).await?;
        let (recorded, mut all_recorded) = mpsc::channel(1);
        self.claim_all(calls, funding, recorded, stop).await?;
        while all_recorded.recv().await.is_some() {}
        self.accept(header, wanted, body.to_vec()).await
    }

    /// How all messages end if none may be sent: as the release says, or because it is too late.
    fn end_without_sending(&self, header: &Header) -> Option<End> {
        let late = self.store.clock.now() >= header.deadline;
        match header.cause {
            Cause::Cancelled => Some(store::CANCELLED),
            Cause::Expired => Some((MessageState::Expired, "deadline_passed")),
            Cause::Unspecified => late.then_some((MessageState::Expired, "deadline_passed")),
        }
    }

    pub(crate) async fn calls(
        &self,
        header: &Arc<Header>,
        opened: Opened<G::Prepared>,
    ) -> Calls<G> {
        let account = self.gateway.account(header.organisation).await;
        Calls {
            gateway: Arc::clone(&self.gateway),
            header: Arc::clone(header),
            addressees: Arc::new(opened.addressees(&account)),
            opened: Arc::new(opened),
            turn: turn(header, &account),
            account: Arc::new(account),
            in_doubt: false,
            watch: Arc::clone(&self.watch),
            part_counts: self.part_counts.clone(),
            committer: self.committer.clone(),
            clock: self.store.clock.clone(),
        }
    }

    /// First attempts in payload order, as permits come free.
    async fn claim_all(
        &self,
        mut calls: Calls<G>,
        funding: Funding,
        recorded: mpsc::Sender<()>,
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let header = &Arc::clone(&calls.header);
        let begun = Instant::now();
        let mut next = 0;
        while next < header.count() {
            let latest = begun + if next == 0 { BEGUN_WITHIN } else { CUT_AFTER };
            calls.follow_settings().await;
            let pace = self.pace(&calls, header.count() - next, latest, stop).await?;
            if stop.is_stopping() {
                return Err(DeliverError::Stopping);
            }
            let now_ms = self.store.clock.now_ms();
            let (permits, tokens, wait) = match pace {
                Pace::Go { permits, tokens } => (permits, tokens, None),
                Pace::Wait { reason, until_ms } => (Vec::new(), None, Some((reason, until_ms))),
                // What the claim makes of a halt comes first.
                Pace::Late | Pace::Nothing => {
                    (Vec::new(), None, Some((WaitReason::Backlog, now_ms)))
                }
            };
            let end = if wait.is_some() { header.count() } else { next + permits.len() };
            let claimed_at = Boottime::now();
            let claim = Claim {
                key: (header.run_day, header.batch),
                number: 0,
                permits: permits.len(),
                funding,
                account: Some(Arc::clone(&calls.account)),
                addressees: Arc::clone(&calls.addressees),
                kind: ClaimKind::First {
                    header: Arc::clone(header),
                    range: next..end,
                    instead: None,
                    wait,
                },
            };
            let answer = self.committer.claim(claim).await.ok_or(DeliverError::Stopping)?;
            calls.begin(answer, claimed_at, permits, tokens, &recorded);
            next = end;
        }
        Ok(())
    }

    /// Released only to be settled: every recipient gets a row with its end.
    async fn settle_unsent(&self, header: &Arc<Header>, end: End) -> Result<(), DeliverError> {
        for start in (0..header.count()).step_by(MICRO_BATCH) {
            let claim = Claim {
                key: (header.run_day, header.batch),
                number: 0,
                permits: 0,
                funding: Funding::Free,
                account: None,
                addressees: Arc::default(),
                kind: ClaimKind::First {
                    header: Arc::clone(header),
                    range: start..(start + MICRO_BATCH).min(header.count()),
                    instead: Some(end),
                    wait: None,
                },
            };
            self.committer.claim(claim).await.ok_or(DeliverError::Stopping)?;
        }
        // Those that an earlier delivery left waiting.
        let claim = Claim {
            key: (header.run_day, header.batch),
            number: 0,
            permits: 0,
            funding: Funding::Free,
            account: None,
            addressees: Arc::default(),
            kind: ClaimKind::Due {
                header: None,
                instead: Some(end),
                wait: None,
                which: Which::Ours,
            },
        };
        self.committer.claim(claim).await.ok_or(DeliverError::Stopping)?;
        self.accept(header, 0, Vec::new()).await
    }

    /// Publishes the batch's totals, also those of one that was accepted before.
    async fn accept(
        &self,
        header: &Arc<Header>,
        wanted: i64,
        job: Vec<u8>,
    ) -> Result<(), DeliverError> {
        let claim = Claim {
            key: (header.run_day, header.batch),
            number: 0,
            permits: 0,
            funding: Funding::Free,
            account: None,
            addressees: Arc::default(),
            kind: ClaimKind::Accept { header: Arc::clone(header), wanted, job: Arc::new(job) },
        };
        let answer = self.committer.claim(claim).await.ok_or(DeliverError::Stopping)?;
        if !answer.accepted {
            return Err(DeliverError::NotAccepted);
        }
        faults::point("dispatch.accepted");
        Ok(())
    }
}
