//! Release: hands planned batches to the broker, as many at a time as there are places. A released
//! batch that is not `sent` is its own outbox row: published with a confirm, then marked. Neither a
//! database that is out of reach nor a batch that cannot be read ends it.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use carillon_broker::{CONFIRM_TIMEOUT, Destination, Publication, PublishError, topology};
use carillon_contracts::{
    ids::{OrganisationId, RunId},
    jobs::v1::{Cause, Channel, Content, MessageClass, SealedBlock, SendJob},
    time,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::Stop;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    Evaluator,
    failure::Failure,
    store::{self, UnsentBatch},
};

/// Jobs read from the tables, and confirms awaited, at a time.
const ROUND: u32 = 32;
const CONFIRMS: usize = 16;
const IDLE: Duration = Duration::from_millis(250);
/// After a refusal of the broker.
const BACK_OFF: Duration = Duration::from_millis(200);
/// After an error of the database.
const TROUBLE: Duration = Duration::from_secs(1);
/// A batch that cannot be read is left alone for this long.
const REST: Duration = Duration::from_secs(60);

type Contents = HashMap<Uuid, Content>;

/// The loop's memory: nothing in it is needed after a restart.
struct Release {
    evaluator: Evaluator,
    /// Published, and not yet marked.
    sent: Vec<i64>,
    resting: HashMap<i64, Instant>,
}

impl Evaluator {
    pub(crate) async fn release(self, stop: Stop) -> Result<(), DbErr> {
        let mut release = Release { evaluator: self, sent: Vec::new(), resting: HashMap::new() };
        while let Err(error) = release.forget_sent().await {
            tracing::error!(%error, "released batches not read; trying again");
            if !stop.sleep(TROUBLE).await {
                return Ok(());
            }
        }
        while !stop.is_stopping() {
            match release.round().await {
                Ok(true) => {
                    stop.sleep(BACK_OFF).await;
                }
                Ok(false) if !release.sent.is_empty() => {}
                Ok(false) => tokio::select! {
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
        // What is not marked is published again after the start, which the claim makes harmless.
        if let Err(error) = release.mark_sent().await {
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

    async fn mark_sent(&self) -> Result<(), DbErr> {
        let tx = self.evaluator.database.begin().await?;
        store::mark_sent(&tx, &self.sent).await?;
        tx.commit().await
    }

    /// Answers whether the broker refused a job.
    async fn round(&mut self) -> Result<bool, DbErr> {
        self.give_places().await?;
        self.sent.clear();
        self.publish_round().await
    }

    /// Marks what was sent and gives free places away, in one transaction, if there is either.
    async fn give_places(&self) -> Result<(), DbErr> {
        let now = self.evaluator.clock.now_ms();
        let reader = self.evaluator.database.reader();
        if self.sent.is_empty() && !store::room_in_any_organisation(reader, now).await? {
            return Ok(());
        }
        let tx = self.evaluator.database.begin().await?;
        store::mark_sent(&tx, &self.sent).await?;
        store::release_in_all_organisations(&tx, now).await?;
        tx.commit().await
    }

    /// Publishes the next jobs; answers whether the broker refused one.
    async fn publish_round(&mut self) -> Result<bool, DbErr> {
        let (batches, contents) = self.readable().await?;
        let (contents, evaluator) = (&contents, &self.evaluator);
        let mut publishing = stream::iter(batches)
            .map(|(seq, batch)| async move {
                let content = contents.get(&batch.run).cloned().unwrap_or_default();
                (seq, evaluator.publish(batch, content).await)
            })
            .buffer_unordered(CONFIRMS);
        let mut refused = false;
        while let Some((seq, published)) = publishing.next().await {
            match published {
                Ok(()) => self.sent.push(seq),
                Err(error) => {
                    if !refused {
                        tracing::warn!(%error, "batch not published; trying again");
                    }
                    refused = true;
                }
            }
        }
        Ok(refused)
    }

    /// The next jobs and their runs' contents. One that cannot be read is left alone for a while.
    async fn readable(&mut self) -> Result<(Vec<(i64, UnsentBatch)>, Contents), DbErr> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let resting: Vec<i64> = self.resting.keys().copied().collect();
        let reader = self.evaluator.database.reader();
        let unsent = store::unsent_of_all_organisations(reader, &resting, ROUND).await?;
        let (mut batches, mut contents) = (Vec::with_capacity(unsent.len()), Contents::new());
        for (seq, batch) in unsent {
            let read = match batch {
                Ok(batch) => {
                    self.evaluator.read_content(&batch, &mut contents).await.map(|()| batch)
                }
                Err(error) => Err(Failure::Stored(error.to_string())),
            };
            match read {
                Ok(batch) => batches.push((seq, batch)),
                Err(Failure::Database(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(seq, %error, "batch cannot be read; it waits");
                    self.resting.insert(seq, now + REST);
                }
            }
        }
        Ok((batches, contents))
    }
}

impl Evaluator {
    async fn read_content(
        &self,
        batch: &UnsentBatch,
        contents: &mut Contents,
    ) -> Result<(), Failure> {
        let Entry::Vacant(unread) = contents.entry(batch.run) else { return Ok(()) };
        let (organisation, run) = (OrganisationId::new(batch.organisation), RunId::new(batch.run));
        let encoded = store::content_of(self.database.reader(), organisation, run).await?;
        let encoded = encoded.ok_or_else(|| Failure::Stored(format!("run {run} is gone")))?;
        let content = Content::decode(encoded.as_slice());
        unread.insert(content.map_err(|error| Failure::Stored(error.to_string()))?);
        Ok(())
    }

    async fn publish(&self, batch: UnsentBatch, content: Content) -> Result<(), PublishError> {
        let channel = Channel::try_from(batch.channel).unwrap_or_default();
        let class = MessageClass::try_from(batch.class).unwrap_or_default();
        let queue = topology::job_queue(channel.word(), class_word(class));
        let job = job(batch, channel, content, self.clock.now());
        let publication = Publication {
            to: Destination::Queue(queue),
            headers: Vec::new(),
            body: job.encode_to_vec().into(),
        };
        match tokio::time::timeout(CONFIRM_TIMEOUT, self.broker.publish(publication)).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::Unavailable("no confirm in time".into())),
        }
    }
}

fn class_word(class: MessageClass) -> &'static str {
    match class {
        MessageClass::Otp => "otp",
        MessageClass::Transactional => "transactional",
        MessageClass::Bulk | MessageClass::Unspecified => "bulk",
    }
}

/// With its block and its channel's part of the content; or, past the deadline, with the cause in
/// place of the block.
fn job(batch: UnsentBatch, channel: Channel, content: Content, now: Timestamp) -> SendJob {
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
        traceparent: String::new(),
    }
}
