//! Tick: what is due becomes a run, once. Any number of replicas may tick.

use std::time::Duration;

use carillon_contracts::{
    events::v1::{RunDue, event::Body},
    ids::{OrganisationId, RunId},
    time,
};
use carillon_service_kit::Stop;
use jiff::{Timestamp, tz::TimeZone};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Scheduler,
    domain::{NOW, Occurrence, pending_period},
    store::{self, DueSchedule, NewRun},
};

const EVERY: Duration = Duration::from_millis(250);
const MOST_AT_ONCE: u32 = 100;

impl Scheduler {
    pub(crate) async fn tick(self, stop: Stop) -> Result<(), DbErr> {
        while !stop.is_stopping() {
            while self.fire_due().await? && !stop.is_stopping() {}
            tokio::select! {
                () = self.due.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }

    /// One transaction: the due schedules, their runs, and what tells of them. Answers whether
    /// more may be due.
    async fn fire_due(&self) -> Result<bool, DbErr> {
        let now = self.clock.now();
        if !store::any_due_of_all(self.database.reader(), now).await? {
            return Ok(false);
        }
        let tx = self.database.begin().await?;
        let due = store::due_of_all(&tx, now, MOST_AT_ONCE).await?;
        let full = due.len() >= MOST_AT_ONCE as usize;
        for schedule in due {
            self.fire(&tx, schedule, now).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(full)
    }

    async fn fire(
        &self,
        tx: &DatabaseTransaction,
        schedule: DueSchedule,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let DueSchedule { organisation, campaign, nominal, published } = schedule;
        let zone = self.zone(organisation).await?;
        let document = published.campaign.unwrap_or_default();
        let pending = pending_period(document.pending_period.as_ref());
        let occurrence = Occurrence::at_once(nominal, pending, &zone);
        let run = RunId::of(campaign, NOW);
        let missed = occurrence.is_missed(now);
        let row = NewRun { run, campaign, key: NOW, occurrence: &occurrence, missed, now };
        let new = row.insert(tx, organisation).await?;
        store::clear_next_fire(tx, organisation, campaign).await?;
        if !new {
            return Ok(());
        }
        if missed {
            let (nominal, deadline) = (occurrence.nominal, occurrence.deadline);
            tracing::warn!(%organisation, %run, %nominal, %deadline, "run missed: its deadline has passed");
            return Ok(());
        }
        let due = RunDue {
            campaign_id: campaign.to_wire(),
            run_id: run.to_wire(),
            run_day: occurrence.run_day,
            occurrence_key: NOW.into(),
            nominal_time: Some(time::to_wire(occurrence.nominal)),
            deadline: Some(time::to_wire(occurrence.deadline)),
            audience: document.audience,
            content: document.content,
            at_most_once_in: document.at_most_once_in,
        };
        self.outbox.append(tx, organisation, Body::RunDue(due)).await.map(|_| ())
    }

    /// The organisation's zone. It was checked when it was set; one that this machine's database
    /// of zones lacks counts as UTC, which moves the run's day, never its time.
    async fn zone(&self, organisation: OrganisationId) -> Result<TimeZone, DbErr> {
        let known = self.tenancy.organisation(organisation).await?;
        let name = known.map_or_else(String::new, |document| document.time_zone);
        Ok(TimeZone::get(&name).unwrap_or_else(|error| {
            tracing::error!(%organisation, zone = name, %error, "time zone not found; taking UTC");
            TimeZone::UTC
        }))
    }
}
