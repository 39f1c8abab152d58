//! Parked batches, for operators. Replayed, one waits for a place again; discarded, it is released
//! with a cause in place of its block, so that dispatchers settle it: none is ever dropped.

use carillon_contracts::{
    ids::BatchId, jobs::v1::Cause, ops::v1::Parked, time, vocabulary::ChannelWord as _,
};
use carillon_operator::SetAside;
use carillon_service_kit::{Database, metrics};
use jiff::Timestamp;
use sea_orm::DbErr;

use crate::{
    Evaluator,
    queue::Queue,
    store::{self, ParkedBatch},
};

pub(crate) struct ParkedBatches(pub Evaluator);

#[tonic::async_trait]
impl SetAside for ParkedBatches {
    async fn count(&self) -> Result<i64, DbErr> {
        store::parked_count_of_all_organisations(self.0.database.reader()).await
    }

    async fn list(&self, limit: i64) -> Result<Vec<Parked>, DbErr> {
        let rows = store::parked_of_all_organisations(self.0.database.reader(), limit).await?;
        Ok(rows.iter().map(shown).collect())
    }

    async fn get(&self, id: &str) -> Result<Option<Parked>, DbErr> {
        let Some(batch) = batch(id) else { return Ok(None) };
        let row = store::parked_batch_of_any_organisation(self.0.database.reader(), batch).await?;
        Ok(row.map(|row| Parked { text: in_words(&row), ..shown(&row) }))
    }

    async fn replay(&self, id: &str) -> Result<bool, DbErr> {
        let Some(batch) = batch(id) else { return Ok(false) };
        let tx = self.0.database.begin().await?;
        let found = store::unpark_of_any_organisation(&tx, batch).await?;
        tx.commit().await?;
        self.0.release_soon.notify_one();
        Ok(found)
    }

    async fn discard(&self, id: &str) -> Result<bool, DbErr> {
        let Some(batch) = batch(id) else { return Ok(false) };
        let now = self.0.clock.now_ms();
        let tx = self.0.database.begin().await?;
        let found = store::give_up_parked_of_any_organisation(&tx, batch, now).await?;
        tx.commit().await?;
        self.0.release_soon.notify_one();
        Ok(found)
    }
}

fn batch(id: &str) -> Option<BatchId> {
    id.parse().ok()
}

fn shown(row: &ParkedBatch) -> Parked {
    let ParkedBatch { batch, channel, class, parked_at, .. } = row;
    Parked {
        id: batch.to_string(),
        source: Queue { channel: *channel, class: *class }.name(),
        error: "a batch, released several times without a word from a dispatcher".to_owned(),
        park_time: Timestamp::from_millisecond(*parked_at).ok().map(time::to_wire),
        ..Parked::default()
    }
}

/// Its recipients stay sealed.
fn in_words(row: &ParkedBatch) -> String {
    let ParkedBatch { batch, organisation, campaign, run, channel, unattempted, .. } = row;
    let deadline = Timestamp::from_millisecond(row.deadline).unwrap_or_default();
    let end = match Cause::try_from(row.cause) {
        Ok(Cause::Cancelled) => "to be settled as cancelled",
        Ok(Cause::Expired) => "to be settled as expired",
        _ => "to be sent",
    };
    format!(
        "batch {batch} of run {run}\ncampaign {campaign}\norganisation {organisation}\n\
         {unattempted} messages by {} {end}, deadline {deadline}",
        channel.word()
    )
}

/// Shown by the process, whichever of its evaluators is asked last.
pub(crate) fn measure(database: &Database) {
    let database = database.clone();
    metrics::collect("parked batches", move || {
        let database = database.clone();
        async move {
            let parked = store::parked_count_of_all_organisations(database.reader()).await?;
            metrics::show(metrics::PARKED_BATCHES, &[], parked);
            Ok::<(), DbErr>(())
        }
    });
}
