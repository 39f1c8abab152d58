//! Every night the messages of recent runs are counted again, and must agree with the totals that
//! the report is made of. Any number of replicas: each piece is counted by whoever holds the row
//! that says how far the recount has come.

use std::time::Duration;

use carillon_service_kit::Stop;
use sea_orm::DbErr;

use super::store::{self, Counted};
use crate::CampaignApi;

/// A night begins at two o'clock UTC.
const NIGHT_MS: i64 = 2 * 60 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Receipts come for some days after a run's deadline.
const RECENT_MS: i64 = 8 * DAY_MS;
/// An event that is late by then is lost.
const QUIET_MS: i64 = 60 * 60 * 1000;
/// Batches counted in one transaction, at most, of 500 messages each.
const AT_ONCE: i64 = 32;
const LOOK: Duration = Duration::from_secs(60);
/// Between two pieces: nobody else is to notice.
const REST: Duration = Duration::from_millis(100);

impl CampaignApi {
    pub(crate) async fn recount(self, stop: Stop) -> Result<(), DbErr> {
        while stop.sleep(LOOK).await {
            while self.recount_some().await? {
                if !stop.sleep(REST).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One piece of the night's recount. Answers whether there may be another.
    pub(crate) async fn recount_some(&self) -> Result<bool, DbErr> {
        let now = self.clock.now_ms();
        let night = (now - NIGHT_MS).div_euclid(DAY_MS);
        if !store::recount_is_due(self.database.reader(), night).await? {
            return Ok(false);
        }
        let tx = self.database.begin().await?;
        let Some(place) = store::take_recount(&tx, night).await? else { return Ok(false) };
        let next = store::next_batches(&tx, place, now - RECENT_MS, AT_ONCE).await?;
        let (place, batches) = next.unzip();
        if let Some(batches) = batches {
            let counted =
                store::recounted_of_all_organisations(&tx, &batches, now - QUIET_MS).await?;
            let (agreeing, differing): (Vec<&Counted>, Vec<&Counted>) =
                counted.iter().partition(|one| agrees(one));
            differing.iter().for_each(|one| alert(one));
            let agreeing: Vec<i64> = agreeing.iter().map(|one| one.number).collect();
            store::keep_disagreements(&tx, (&differing, &agreeing), now).await?;
        }
        store::save_place(&tx, place).await?;
        tx.commit().await?;
        Ok(place.is_some())
    }
}

/// Nobody is told that a message is being sent: its row still shows how it last waited.
fn agrees(counted: &Counted) -> bool {
    let Counted { told, found, .. } = counted;
    let all = |words: &super::sums::Words| words.values().sum::<u64>();
    let is_sending = all(&found.waiting) > all(&told.waiting);
    told.settled == found.settled
        && (told.parts, told.units) == (found.parts, found.units)
        && (is_sending || told.waiting == found.waiting)
}

fn alert(counted: &Counted) {
    let Counted { organisation, run, batch, told, found, .. } = counted;
    tracing::error!(
        %organisation, %run, %batch, ?told, ?found,
        "the report's totals disagree with its messages"
    );
}
