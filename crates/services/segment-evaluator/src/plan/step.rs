//! One step of a plan: at most 500 customers who matched, decided for each channel, cut into at most
//! one batch a channel, and stored with the cursor and the event in one transaction.
//!
//! Shared addresses are looked up, and blocks sealed, before that transaction. That is safe because
//! the claims that a step looks up change only together with the cursor: if the transaction finds
//! the cursor where the step read it, the claims are those that the step saw. An address that came
//! to be shared in between (`late`) is claimed in that transaction.

use std::collections::HashSet;

use carillon_contracts::{
    campaign::v1::{Audience, Organisation},
    events::v1::{BatchPlanned, PlannedBatch, RunPlanned, Skipped, event::Body},
    ids::{BatchId, OrganisationId, RunId, pack_customers},
    jobs::v1::{Channel, Content, MessageClass},
    limits::{BATCH_BYTES, BATCH_RECIPIENTS},
};
use carillon_service_kit::faults;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

use super::block;
use crate::{
    Evaluator,
    domain::{
        decide::{AddressHash, Decided, Policy, decide},
        filter::Selection,
        variables::Texts,
    },
    failure::Failure,
    people::{Open, People},
    store::{self, NewBatch, RunProgress, RunRow},
};

/// What of a run stays the same from step to step.
pub(crate) struct Prepared {
    organisation: OrganisationId,
    run: RunId,
    row: RunRow,
    selection: Selection,
    texts: Texts,
    channels: Vec<Channel>,
}

impl Prepared {
    pub(super) fn traceparent(&self) -> &str {
        &self.row.traceparent
    }

    /// A step's event, before anything stands in it.
    fn step(&self, number: u32) -> BatchPlanned {
        BatchPlanned {
            campaign_id: self.row.campaign.into_bytes().to_vec().into(),
            run_id: self.run.to_wire(),
            run_day: self.row.run_day,
            step: number,
            batches: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

pub(super) enum Stepped {
    Moved,
    /// The organisation's document has not arrived, or another replica plans the run.
    NotYet,
}

/// A step that is ready to be stored.
struct Step {
    read: RunProgress,
    next: RunProgress,
    /// By channel.
    claims: Vec<(Channel, Vec<AddressHash>)>,
    /// Addresses that were not shared when they were read, by channel.
    unshared: Vec<(Channel, Vec<AddressHash>)>,
    batches: Vec<NewBatch>,
    event: BatchPlanned,
}

impl Evaluator {
    pub(crate) async fn prepare_run(
        &self,
        organisation: OrganisationId,
        run: RunId,
    ) -> Result<Prepared, Failure> {
        let unreadable = |what: &dyn std::fmt::Display| Failure::Stored(format!("run: {what}"));
        let row = store::run(self.database.reader(), organisation, run).await?;
        let row = row.ok_or_else(|| unreadable(&"it is gone"))?;
        let audience =
            Audience::decode(row.audience.as_slice()).map_err(|error| unreadable(&error))?;
        let content =
            Content::decode(row.content.as_slice()).map_err(|error| unreadable(&error))?;
        let selection =
            Selection::of_audience(Some(&audience)).map_err(|error| unreadable(&error))?;
        let texts = Texts::parse(&content).map_err(|error| unreadable(&error))?;
        let channels = texts.channels();
        Ok(Prepared { organisation, run, row, selection, texts, channels })
    }

    pub(super) async fn plan_step(&self, run: &Prepared) -> Result<Stepped, Failure> {
        let Some(settings) = self.tenancy.organisation(run.organisation).await? else {
            return Ok(Stepped::NotYet);
        };
        // Where there are replicas the run is taken first, so that no two decide the same step. On
        // SQLite everybody else would have to wait meanwhile.
        let taken = if self.database.is_shared() {
            let tx = self.database.begin().await?;
            if !store::take_run(&tx, run.organisation, run.run).await? {
                tx.rollback().await?;
                return Ok(Stepped::NotYet);
            }
            Some(tx)
        } else {
            None
        };
        let reader = self.database.reader();
        let read = store::run_progress(reader, run.organisation, run.run).await?;
        let Some(read) = read.filter(|read| !read.closed) else { return Ok(Stepped::Moved) };
        let cancelled =
            store::campaign_is_cancelled(reader, run.organisation, run.row.campaign).await?;
        let step = if cancelled {
            self.end_early(run, read)
        } else {
            self.decide_fitting_step(run, &settings, read).await?
        };
        let tx = match taken {
            Some(tx) => tx,
            None => self.database.begin().await?,
        };
        self.store_step(tx, run, step).await?;
        Ok(Stepped::Moved)
    }

    /// The plan of a cancelled campaign ends with what was planned.
    fn end_early(&self, run: &Prepared, read: RunProgress) -> Step {
        Step {
            next: RunProgress { closed: true, ..read.clone() },
            claims: Vec::new(),
            unshared: Vec::new(),
            batches: Vec::new(),
            event: run.step(read.step),
            read,
        }
    }

    /// With as many customers as a batch's block can hold.
    async fn decide_fitting_step(
        &self,
        run: &Prepared,
        settings: &Organisation,
        read: RunProgress,
    ) -> Result<Step, Failure> {
        let mut limit = BATCH_RECIPIENTS;
        loop {
            let step = self.decide_step(run, settings, read.clone(), limit).await?;
            let fits = |batch: &NewBatch| batch.block.ciphertext.len() <= BATCH_BYTES;
            if limit == 1 || step.batches.iter().all(fits) {
                return Ok(step);
            }
            limit = (limit / 2).max(1);
        }
    }

    async fn decide_step(
        &self,
        run: &Prepared,
        settings: &Organisation,
        read: RunProgress,
        limit: usize,
    ) -> Result<Step, Failure> {
        let policy = Policy::of(settings);
        let open =
            Open::IfReachable { channels: &run.channels, require_consent: policy.require_consent };
        let page =
            self.people(run.organisation, &run.selection, &read.position, limit, open).await?;
        let mut claimed = HashSet::new();
        for channel in &run.channels {
            let shared = page.shared(*channel);
            if !shared.is_empty() {
                let reader = self.database.reader();
                let taken = store::claimed_addresses(reader, run.run, *channel, &shared).await?;
                claimed.extend(taken.into_iter().map(|hash| (*channel, hash)));
            }
        }
        let mut step = Step {
            next: RunProgress {
                position: page.position.clone(),
                closed: page.last,
                ..read.clone()
            },
            event: run.step(read.step),
            claims: Vec::new(),
            unshared: Vec::new(),
            batches: Vec::new(),
            read,
        };
        for channel in &run.channels {
            let decided = decide(&page.people, *channel, &policy, &mut claimed);
            self.add_channel(run, settings, &page, decided, &mut step)?;
        }
        if !step.event.batches.is_empty() || !step.event.skipped.is_empty() {
            step.next.step += 1;
        }
        Ok(step)
    }

    /// Cuts the channel's batch and counts who is skipped.
    fn add_channel(
        &self,
        run: &Prepared,
        settings: &Organisation,
        page: &People,
        decided: Decided,
        step: &mut Step,
    ) -> Result<(), Failure> {
        let channel = decided.channel;
        let packed = |positions: &[usize]| {
            let ids = positions.iter().map(|position| page.people[*position].candidate.id);
            pack_customers(ids)
        };
        step.next.matched += i64::try_from(page.people.len()).unwrap_or(i64::MAX);
        for (reason, positions) in &decided.skipped {
            let count = step.next.skipped.entry(reason.word().to_owned()).or_default();
            *count += positions.len() as u64;
            step.event.skipped.push(Skipped {
                channel: channel.into(),
                reason: reason.word().to_owned(),
                customer_ids: packed(positions),
            });
        }
        if decided.planned.is_empty() {
            return Ok(());
        }
        step.next.planned += i64::try_from(decided.planned.len()).unwrap_or(i64::MAX);
        let number = step.next.batches(channel);
        let batch = BatchId::of(run.run, channel, *number);
        *number += 1;
        let wanted = run.texts.variables(channel);
        let recipients = block::recipients(&page.people, &decided, wanted, settings);
        let customer_ids = packed(&decided.planned);
        step.batches.push(NewBatch {
            batch,
            channel,
            class: MessageClass::Bulk,
            campaign: run.row.campaign,
            run: run.run,
            run_day: run.row.run_day,
            deadline: run.row.deadline,
            recipients: u32::try_from(decided.planned.len()).unwrap_or(u32::MAX),
            customer_ids: customer_ids.to_vec(),
            block: block::seal(self.vault.wrapping(), batch, &recipients)?,
        });
        let batch_id = batch.to_wire();
        step.event.batches.push(PlannedBatch { batch_id, channel: channel.into(), customer_ids });
        step.claims.push((channel, decided.claims));
        step.unshared.push((channel, decided.unshared));
        Ok(())
    }

    /// Does nothing where somebody else moved the cursor since the step read it. The transaction is
    /// the only one that writes, or has taken the run.
    async fn store_step(
        &self,
        tx: DatabaseTransaction,
        run: &Prepared,
        step: Step,
    ) -> Result<(), DbErr> {
        let now = store::run_progress(&tx, run.organisation, run.run).await?;
        let Some(now) = now.filter(|now| now.stands_at(&step.read)) else {
            return tx.rollback().await;
        };
        if now.late != step.read.late {
            for (channel, hashes) in &step.unshared {
                let shared = store::shared_of(&tx, run.organisation, *channel, hashes).await?;
                store::claim_late(&tx, run.run, *channel, &shared).await?;
            }
        }
        for (channel, hashes) in &step.claims {
            store::claim_addresses(&tx, run.run, *channel, hashes).await?;
            store::open_lanes(&tx, run.organisation, *channel, MessageClass::Bulk).await?;
        }
        let now = self.clock.now_ms();
        store::insert_batches(&tx, run.organisation, step.batches, now).await?;
        store::save_progress(&tx, run.organisation, run.run, &step.next).await?;
        if step.next.step > step.read.step {
            self.outbox.append(&tx, run.organisation, Body::BatchPlanned(step.event)).await?;
        }
        if step.next.closed {
            self.close(&tx, run, step.next).await?;
        }
        faults::commit(tx, "plan.step").await?;
        self.outbox.wake();
        self.release_soon.notify_one();
        Ok(())
    }

    async fn close(
        &self,
        tx: &DatabaseTransaction,
        run: &Prepared,
        totals: RunProgress,
    ) -> Result<(), DbErr> {
        store::forget_addresses(tx, run.run).await?;
        let planned = RunPlanned {
            campaign_id: run.row.campaign.into_bytes().to_vec().into(),
            run_id: run.run.to_wire(),
            matched: totals.matched.cast_unsigned(),
            planned: totals.planned.cast_unsigned(),
            skipped: totals.skipped,
        };
        self.outbox.append(tx, run.organisation, Body::RunPlanned(planned)).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests;
