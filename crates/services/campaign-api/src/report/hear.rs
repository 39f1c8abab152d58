//! Hears every stage of a run. Events may come twice, late, and in any order: rows are keyed by
//! what they tell of, and versions say which word is the last.

use std::collections::BTreeMap;

use async_trait::async_trait;
use carillon_contracts::{
    campaign::v1::CampaignState,
    events::v1::{
        BatchPlanned, DeliveryChanged, Event, RunDue, RunMissed, RunPlanned, event::Body,
    },
    ids::{BatchId, CampaignId, CustomerId, OrganisationId, RunId, unpack_customers},
    jobs::v1::Channel,
    time,
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::DatabaseTransaction;

use super::{
    store::{self, BatchRow, NewBatch, RunKey, Skips},
    sums::{self, Plan},
};
use crate::{CampaignApi, domain::lifecycle};

pub(crate) struct Project(pub CampaignApi);

/// What an event is about.
struct About {
    organisation: OrganisationId,
    campaign: CampaignId,
    run: RunId,
    now_ms: i64,
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("report: {what}"))
}

fn channel(number: i32) -> Result<Channel, HandlerError> {
    match Channel::try_from(number) {
        Ok(Channel::Unspecified) | Err(_) => Err(wrong(format!("channel {number}"))),
        Ok(channel) => Ok(channel),
    }
}

#[async_trait]
impl Handler for Project {
    /// Other runs of the campaign change its state too.
    async fn lock(&self, tx: &DatabaseTransaction, events: &[&Event]) -> Result<(), HandlerError> {
        let campaigns = events.iter().filter_map(|event| match &event.body {
            Some(Body::RunDue(due)) => Some(&due.campaign_id),
            Some(Body::RunMissed(missed)) => Some(&missed.campaign_id),
            Some(Body::BatchPlanned(planned)) => Some(&planned.campaign_id),
            Some(Body::RunPlanned(planned)) => Some(&planned.campaign_id),
            Some(Body::DeliveryChanged(changed)) => Some(&changed.campaign_id),
            _ => None,
        });
        let campaigns = campaigns.filter_map(|id| CampaignId::from_wire(id).ok());
        Ok(store::lock_campaigns(tx, campaigns).await?)
    }

    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        match &event.body {
            Some(Body::RunDue(due)) => {
                let about = self.about(event, &due.campaign_id, &due.run_id)?;
                run_due(tx, &about, due).await
            }
            Some(Body::RunMissed(missed)) => {
                let about = self.about(event, &missed.campaign_id, &missed.run_id)?;
                run_missed(tx, &about, missed).await
            }
            Some(Body::BatchPlanned(planned)) => {
                let about = self.about(event, &planned.campaign_id, &planned.run_id)?;
                batch_planned(tx, &about, planned).await
            }
            Some(Body::RunPlanned(planned)) => {
                let about = self.about(event, &planned.campaign_id, &planned.run_id)?;
                run_planned(tx, &about, planned).await
            }
            Some(Body::DeliveryChanged(changed)) => {
                let about = self.about(event, &changed.campaign_id, &changed.run_id)?;
                delivery_changed(tx, &about, changed).await
            }
            _ => Err(wrong("an event of another type, or without a body")),
        }
    }
}

impl Project {
    fn about(&self, event: &Event, campaign: &[u8], run: &[u8]) -> Result<About, HandlerError> {
        Ok(About {
            organisation: OrganisationId::from_wire(&event.organisation_id).map_err(wrong)?,
            campaign: CampaignId::from_wire(campaign).map_err(wrong)?,
            run: RunId::from_wire(run).map_err(wrong)?,
            now_ms: self.0.clock.now_ms(),
        })
    }
}

impl About {
    async fn open_run(&self, tx: &DatabaseTransaction) -> Result<RunKey, HandlerError> {
        let key = store::open_run(tx, self.organisation, self.campaign, self.run, self.now_ms);
        key.await?.ok_or_else(|| wrong(format!("run {} is of another organisation", self.run)))
    }

    async fn change_campaign(
        &self,
        tx: &DatabaseTransaction,
        next: fn(CampaignState) -> Option<CampaignState>,
    ) -> Result<(), HandlerError> {
        let (organisation, campaign) = (self.organisation, self.campaign);
        crate::store::change_state(tx, organisation, campaign, next, self.now_ms).await?;
        Ok(())
    }

    /// Finishes the campaign, if the plan was heard to its end and nothing of it is open.
    async fn finish(&self, tx: &DatabaseTransaction, run: RunKey) -> Result<(), HandlerError> {
        let Some(plan) = store::closed_plan(tx, run).await? else { return Ok(()) };
        if store::any_open(tx, run).await? {
            return Ok(());
        }
        if plan.is_complete(&store::run_sums(tx, run).await?.all()) {
            self.change_campaign(tx, lifecycle::ended).await?;
        }
        Ok(())
    }
}

async fn run_due(
    tx: &DatabaseTransaction,
    about: &About,
    due: &RunDue,
) -> Result<(), HandlerError> {
    let nominal = instant(&due.nominal_time).ok_or_else(|| wrong("no nominal_time"))?;
    let deadline = instant(&due.deadline).ok_or_else(|| wrong("no deadline"))?;
    let run = about.open_run(tx).await?;
    store::set_due(tx, run, nominal, Some(deadline), about.now_ms).await?;
    about.change_campaign(tx, lifecycle::begun).await
}

fn instant(at: &Option<prost_types::Timestamp>) -> Option<i64> {
    at.as_ref().and_then(time::from_wire).map(|at| at.as_millisecond())
}

/// Nobody plans a missed run: to the report it is one whose plan holds nobody.
async fn run_missed(
    tx: &DatabaseTransaction,
    about: &About,
    missed: &RunMissed,
) -> Result<(), HandlerError> {
    let nominal = instant(&missed.nominal_time).ok_or_else(|| wrong("no nominal_time"))?;
    let run = about.open_run(tx).await?;
    store::set_due(tx, run, nominal, None, about.now_ms).await?;
    store::close_plan(tx, run, &Plan::default(), about.now_ms).await?;
    about.finish(tx, run).await
}

/// One step of the plan. Told again, it counts once: batches by their id, skips by their step.
async fn batch_planned(
    tx: &DatabaseTransaction,
    about: &About,
    planned: &BatchPlanned,
) -> Result<(), HandlerError> {
    let run = about.open_run(tx).await?;
    for batch in &planned.batches {
        let customers = unpack_customers(&batch.customer_ids).map_err(wrong)?;
        let count = u32::try_from(customers.len()).map_err(wrong)?;
        let new = NewBatch {
            batch: BatchId::from_wire(&batch.batch_id).map_err(wrong)?,
            channel: channel(batch.channel)?,
            count,
            now_ms: about.now_ms,
        };
        let row = find_or_insert(tx, about, run, &new).await?;
        store::set_recipients(tx, &row, &batch.customer_ids).await?;
    }
    let mut skips: BTreeMap<(Channel, &str), Vec<CustomerId>> = BTreeMap::new();
    for skipped in &planned.skipped {
        let channel = channel(skipped.channel)?;
        let customers = unpack_customers(&skipped.customer_ids).map_err(wrong)?;
        skips.entry((channel, &skipped.reason)).or_default().extend(customers);
    }
    for ((channel, reason), customers) in skips {
        Skips { step: planned.step, channel, reason, customers }.insert(tx, run).await?;
    }
    store::touch(tx, run, about.now_ms).await?;
    about.finish(tx, run).await
}

async fn run_planned(
    tx: &DatabaseTransaction,
    about: &About,
    planned: &RunPlanned,
) -> Result<(), HandlerError> {
    let run = about.open_run(tx).await?;
    store::close_plan(tx, run, &Plan::of(planned), about.now_ms).await?;
    about.finish(tx, run).await
}

/// Of totals the newest version wins; changes of messages count from every event.
async fn delivery_changed(
    tx: &DatabaseTransaction,
    about: &About,
    changed: &DeliveryChanged,
) -> Result<(), HandlerError> {
    let totals = changed.totals.as_ref().ok_or_else(|| wrong("no totals"))?;
    let open = sums::open(totals).map_err(wrong)?;
    let batch = BatchId::from_wire(&changed.batch_id).map_err(wrong)?;
    let row = match store::batch(tx, about.organisation, batch).await? {
        Some(row) if row.count != totals.count => {
            return Err(differing(batch, row.count, totals.count));
        }
        Some(row) => row,
        None => {
            let run = about.open_run(tx).await?;
            let channel = channel(changed.channel)?;
            let new = NewBatch { batch, channel, count: totals.count, now_ms: about.now_ms };
            new.insert(tx, run).await?
        }
    };
    if let Some(beyond) = changed.changes.iter().find(|change| change.position >= totals.count) {
        return Err(wrong(format!("position {} of {}", beyond.position, totals.count)));
    }
    if !changed.changes.is_empty() {
        store::save_messages(tx, &row, totals.version, &changed.changes).await?;
    }
    if totals.version <= row.version {
        return Ok(());
    }
    store::save_totals(tx, &row, totals, open, about.now_ms).await?;
    if open == 0 { about.finish(tx, row.run).await } else { Ok(()) }
}

async fn find_or_insert(
    tx: &DatabaseTransaction,
    about: &About,
    run: RunKey,
    new: &NewBatch,
) -> Result<BatchRow, HandlerError> {
    match store::batch(tx, about.organisation, new.batch).await? {
        Some(row) if row.count != new.count => Err(differing(new.batch, row.count, new.count)),
        Some(row) => Ok(row),
        None => Ok(new.insert(tx, run).await?),
    }
}

fn differing(batch: BatchId, known: u32, told: u32) -> HandlerError {
    wrong(format!("batch {batch} has {known} messages, and now {told}"))
}
