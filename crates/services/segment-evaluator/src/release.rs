//! Release: hands planned batches to the broker, as many at a time as there are places. A released
//! batch that is not `sent` is its own outbox row: published with a confirm, then marked.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
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
    store::{self, UnsentBatch},
};

/// Jobs read from the tables, and confirms awaited, at a time.
const ROUND: u32 = 32;
const CONFIRMS: usize = 16;
const IDLE: Duration = Duration::from_millis(250);
const BACK_OFF: Duration = Duration::from_millis(200);

impl Evaluator {
    pub(crate) async fn release(self, stop: Stop) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        store::forget_sent(&tx).await?;
        tx.commit().await?;
        let mut sent = Vec::new();
        while !stop.is_stopping() {
            self.give_places(&sent).await?;
            sent.clear();
            let refused = self.publish_round(&mut sent).await?;
            if refused {
                stop.sleep(BACK_OFF).await;
            } else if sent.is_empty() {
                tokio::select! {
                    () = self.release_soon.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                    () = stop.requested() => {}
                }
            }
        }
        let tx = self.database.begin().await?;
        store::mark_sent(&tx, &sent).await?;
        tx.commit().await
    }

    /// Marks what was sent and gives free places away, in one transaction, if there is either.
    async fn give_places(&self, sent: &[i64]) -> Result<(), DbErr> {
        let now = self.clock.now_ms();
        let reader = self.database.reader();
        if sent.is_empty() && !store::room_in_any_organisation(reader, now).await? {
            return Ok(());
        }
        let tx = self.database.begin().await?;
        store::mark_sent(&tx, sent).await?;
        store::release_in_all_organisations(&tx, now).await?;
        tx.commit().await
    }

    /// Publishes the next jobs; answers whether the broker refused one.
    async fn publish_round(&self, sent: &mut Vec<i64>) -> Result<bool, DbErr> {
        let reader = self.database.reader();
        let batches = store::unsent_of_all_organisations(reader, ROUND).await?;
        let mut contents: HashMap<Uuid, Content> = HashMap::new();
        for batch in &batches {
            if let Entry::Vacant(unread) = contents.entry(batch.run) {
                unread.insert(self.content(batch).await?);
            }
        }
        let contents = &contents;
        let mut publishing = stream::iter(batches)
            .map(|batch| async move {
                let content = contents.get(&batch.run).cloned().unwrap_or_default();
                (batch.seq, self.publish(batch, content).await)
            })
            .buffer_unordered(CONFIRMS);
        let mut refused = false;
        while let Some((seq, published)) = publishing.next().await {
            match published {
                Ok(()) => sent.push(seq),
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

    async fn content(&self, batch: &UnsentBatch) -> Result<Content, DbErr> {
        let (organisation, run) = (OrganisationId::new(batch.organisation), RunId::new(batch.run));
        let reader = self.database.reader();
        let encoded = store::content_of(reader, organisation, run).await?;
        let encoded = encoded.ok_or_else(|| DbErr::RecordNotFound(format!("run {run}")))?;
        Content::decode(encoded.as_slice()).map_err(|error| DbErr::Type(error.to_string()))
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
