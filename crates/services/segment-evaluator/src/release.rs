//! Release: hands planned batches to the broker, as many at a time as there are places. A released
//! batch that is not `sent` is its own outbox row: taken by one replica for a while, published with a
//! confirm, then marked. Neither a database that is out of reach nor a batch that cannot be read ends
//! it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use carillon_broker::{CONFIRM_TIMEOUT, Destination, Publication, PublishError};
use carillon_contracts::{
    ids::{OrganisationId, RunId},
    jobs::v1::{Cause, Channel, Content, MessageClass, SealedBlock, SendJob},
    time,
};
use carillon_service_kit::{Stop, faults, telemetry};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::DbErr;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    Evaluator,
    failure::Failure,
    queue::Queue,
    store::{self, TakenBatch},
};

/// Jobs taken from the tables, and confirms awaited, at a time.
const ROUND: i64 = 32;
const CONFIRMS: usize = 16;
const IDLE: Duration = Duration::from_millis(250);
/// After a refusal of the broker.
const BACK_OFF: Duration = Duration::from_millis(200);
/// After an error of the database.
const TROUBLE: Duration = Duration::from_secs(1);
/// A batch taken by a replica that died, or that cannot be read, is left alone for this long. Longer
/// than a round's confirms can take.
const TAKEN_MS: i64 = 30_000;

/// Each run's content, and the trace that it belongs to.
type Contents = HashMap<Uuid, (Content, String)>;

/// The loop's memory: nothing in it is needed after a restart.
struct Release {
    evaluator: Evaluator,
    /// Published, and not yet marked.
    sent: Vec<i64>,
    /// Taken, and refused by the broker.
    refused: Vec<i64>,
    /// What was taken until then, if the commit of it went through, nobody knows of.
    unanswered: Option<i64>,
}

impl Evaluator {
    pub(crate) async fn release(self, stop: Stop) -> Result<(), DbErr> {
        let mut release =
            Release { evaluator: self, sent: Vec::new(), refused: Vec::new(), unanswered: None };
        // A broker that is shared kept what it was given.
        while !release.evaluator.database.is_shared() {
            let Err(error) = release.forget_sent().await else { break };
            tracing::error!(%error, "released batches not read; trying again");
            if !stop.sleep(TROUBLE).await {
                return Ok(());
            }
        }
        while !stop.is_stopping() {
            match release.round().await {
                Ok(()) if !release.refused.is_empty() => {
                    stop.sleep(BACK_OFF).await;
                }
                Ok(()) if !release.sent.is_empty() => {}
                Ok(()) => tokio::select! {
                    () = release.evaluator.release_soon.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                    () = stop.requested() => {}
                },
                Err(error) => {
                    tracing::error!(%error, "batches not released; trying again");
                    stop.sleep(TROUBLE).await;
                }
            }
        }
        // What is not marked is published again later, which the claim makes harmless.
        if let Err(error) = release.settle(false).await {
            tracing::error!(%error, "published batches not marked");
        }
        Ok(())
    }
}

impl Release {
    async fn forget_sent(&self) -> Result<(), DbErr> {
        let tx = self.evaluator.database.begin().await?;
        store::forget_sent(&tx).await?;
        tx.commit().await
    }

    async fn round(&mut self) -> Result<(), DbErr> {
        let taken = self.settle(true).await?;
        self.publish(&taken).await
    }

    /// Marks what was sent, gives back what was refused, gives free places away and takes the next
    /// jobs: in one transaction, if there is any of it to do.
    async fn settle(&mut self, more: bool) -> Result<Vec<i64>, DbErr> {
        let now = self.evaluator.clock.now_ms();
        let reader = self.evaluator.database.reader();
        let pending = self.unanswered.is_some()
            || !self.sent.is_empty()
            || !self.refused.is_empty()
            || more
                && (store::room_in_any_organisation(reader, now).await?
                    || store::unsent_in_any_organisation(reader, now).await?);
        if !pending {
            return Ok(Vec::new());
        }
        let tx = self.evaluator.database.begin().await?;
        let marked = store::mark_sent(&tx, &self.sent, now).await?;
        store::give_back(&tx, &self.refused).await?;
        if let Some(until) = self.unanswered {
            store::give_back_taken_until(&tx, until).await?;
        }
        let taken = if more {
            store::release_in_all_organisations(&tx, now).await?;
            store::take_unsent_of_all_organisations(&tx, now, now + TAKEN_MS, ROUND).await?
        } else {
            Vec::new()
        };
        self.unanswered = Some(now + TAKEN_MS);
        faults::commit(tx, "release.settle").await?;
        let marked: HashSet<i64> = marked.into_iter().collect();
        self.sent.retain(|seq| !marked.contains(seq));
        self.refused.clear();
        self.unanswered = None;
        Ok(taken)
    }

    /// Publishes the jobs taken.
    async fn publish(&mut self, taken: &[i64]) -> Result<(), DbErr> {
        if taken.is_empty() {
            return Ok(());
        }
        let (batches, contents) = match self.readable(taken).await {
            Ok(readable) => readable,
            Err(error) => {
                self.refused.extend(taken);
                return Err(error);
            }
        };
        let (contents, evaluator) = (&contents, &self.evaluator);
        let mut publishing = stream::iter(batches)
            .map(|(seq, batch)| async move {
                let (content, trace) = contents.get(&batch.run).cloned().unwrap_or_default();
                let batch_id = batch.batch;
                let span =
                    tracing::info_span!("release batch", otel.kind = "producer", batch = %batch_id);
                telemetry::with_remote_parent(&span, &trace);
                (seq, evaluator.publish(batch, content).instrument(span).await)
            })
            .buffer_unordered(CONFIRMS);
        while let Some((seq, published)) = publishing.next().await {
            match published {
                Ok(()) => {
                    faults::point("release.confirmed");
                    self.sent.push(seq);
                }
                Err(error) => {
                    if self.refused.is_empty() {
                        tracing::warn!(%error, "batch not published; trying again");
                    }
                    self.refused.push(seq);
                }
            }
        }
        Ok(())
    }

    /// The jobs taken and their runs' contents. One that cannot be read stays taken, and so is left
    /// alone for a while.
    async fn readable(&self, taken: &[i64]) -> Result<(Vec<(i64, TakenBatch)>, Contents), DbErr> {
        let reader = self.evaluator.database.reader();
        let jobs = store::taken_of_all_organisations(reader, taken).await?;
        let (mut batches, mut contents) = (Vec::with_capacity(jobs.len()), Contents::new());
        for (seq, batch) in jobs {
            let read = match batch {
                Ok(batch) => {
                    self.evaluator.read_content(&batch, &mut contents).await.map(|()| batch)
                }
                Err(error) => Err(Failure::Stored(error.to_string())),
            };
            match read {
                Ok(batch) => batches.push((seq, batch)),
                Err(Failure::Database(error)) => return Err(error),
                Err(error) => tracing::error!(seq, %error, "batch cannot be read; it waits"),
            }
        }
        Ok((batches, contents))
    }
}

impl Evaluator {
    async fn read_content(
        &self,
        batch: &TakenBatch,
        contents: &mut Contents,
    ) -> Result<(), Failure> {
        let Entry::Vacant(unread) = contents.entry(batch.run) else { return Ok(()) };
        let (organisation, run) = (OrganisationId::new(batch.organisation), RunId::new(batch.run));
        let encoded = store::content_of(self.database.reader(), organisation, run).await?;
        let (encoded, trace) =
            encoded.ok_or_else(|| Failure::Stored(format!("run {run} is gone")))?;
        let content = Content::decode(encoded.as_slice());
        unread.insert((content.map_err(|error| Failure::Stored(error.to_string()))?, trace));
        Ok(())
    }

    async fn publish(&self, batch: TakenBatch, content: Content) -> Result<(), PublishError> {
        let channel = Channel::try_from(batch.channel).unwrap_or_default();
        let class = MessageClass::try_from(batch.class).unwrap_or_default();
        let job = job(batch, channel, content, self.clock.now());
        let mut headers = Vec::new();
        if !job.traceparent.is_empty() {
            headers.push(("traceparent".to_owned(), job.traceparent.clone()));
        }
        let publication = Publication {
            to: Destination::Queue(Queue { channel, class }.name()),
            headers,
            body: job.encode_to_vec().into(),
        };
        match tokio::time::timeout(CONFIRM_TIMEOUT, self.broker.publish(publication)).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::Unavailable("no confirm in time".into())),
        }
    }
}

/// With its block and its channel's part of the content; or, past the deadline, with the cause in
/// place of the block.
fn job(batch: TakenBatch, channel: Channel, content: Content, now: Timestamp) -> SendJob {
    let expired = batch.deadline <= now.as_millisecond();
    let cause = match Cause::try_from(batch.cause).unwrap_or_default() {
        Cause::Unspecified if expired => Cause::Expired,
        cause => cause,
    };
    let block = batch.block.filter(|_| cause == Cause::Unspecified).map(|ciphertext| SealedBlock {
        key_id: batch.key_id,
        wrapped_key: batch.wrapped_key.into(),
        ciphertext: ciphertext.into(),
    });
    let content = match channel {
        Channel::Email => Content { sms: None, ..content },
        _ => Content { email: None, ..content },
    };
    SendJob {
        organisation_id: batch.organisation.into_bytes().to_vec().into(),
        campaign_id: batch.campaign.into_bytes().to_vec().into(),
        run_id: batch.run.into_bytes().to_vec().into(),
        run_day: batch.run_day,
        batch_id: batch.batch.into_bytes().to_vec().into(),
        channel: channel.into(),
        message_class: batch.class,
        deadline: Timestamp::from_millisecond(batch.deadline).ok().map(time::to_wire),
        customer_ids: batch.customer_ids.into(),
        block,
        content: Some(content),
        cause: cause.into(),
        traceparent: telemetry::traceparent(),
    }
}
