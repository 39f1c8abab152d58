//! Tick: what is due becomes a run, once. Any number of replicas may tick. Neither a database that
//! is out of reach nor a schedule that cannot be read ends it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_contracts::{
    campaign::v1::Campaign,
    events::v1::{CampaignPublished, RunDue, RunMissed, event::Body},
    ids::{CampaignId, OrganisationId, RunId},
    time,
};
use carillon_service_kit::Stop;
use jiff::{Timestamp, tz::TimeZone};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Scheduler,
    domain::{NOW, Occurrence, pending_period},
    store::{self, DueSchedule, NewRun},
};

const EVERY: Duration = Duration::from_millis(250);
const MOST_AT_ONCE: u32 = 100;
/// After an error of the database.
const BACK_OFF: Duration = Duration::from_secs(1);
/// A schedule that cannot be read is left alone for this long, so that it holds up no other.
const REST: Duration = Duration::from_secs(60);

/// The loop's memory: nothing in it is needed after a restart.
struct Ticker {
    scheduler: Scheduler,
    resting: HashMap<CampaignId, Instant>,
}

/// A schedule as far as it can be read before anything is written.
struct Ready {
    organisation: OrganisationId,
    campaign: CampaignId,
    document: Campaign,
    occurrence: Occurrence,
}

impl Scheduler {
    pub(crate) async fn tick(self, stop: Stop) -> Result<(), DbErr> {
        let mut ticker = Ticker { scheduler: self, resting: HashMap::new() };
        while !stop.is_stopping() {
            match ticker.fire_due().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "schedules not looked at; trying again");
                    stop.sleep(BACK_OFF).await;
                    continue;
                }
            }
            tokio::select! {
                () = ticker.scheduler.due.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }
}

impl Ticker {
    /// One transaction: the due schedules, their runs, and what tells of them. Answers whether
    /// more may be due.
    async fn fire_due(&mut self) -> Result<bool, DbErr> {
        let now = self.scheduler.clock.now();
        let instant = Instant::now();
        self.resting.retain(|_, until| *until > instant);
        let resting: Vec<CampaignId> = self.resting.keys().copied().collect();
        let reader = self.scheduler.database.reader();
        if !store::any_due_of_all(reader, now, &resting).await? {
            return Ok(false);
        }
        let tx = self.scheduler.database.begin().await?;
        let due = store::due_of_all(&tx, now, &resting, MOST_AT_ONCE).await?;
        let full = due.len() >= MOST_AT_ONCE as usize;
        for schedule in due {
            let (organisation, campaign) = (schedule.organisation, schedule.campaign);
            match self.scheduler.read(schedule).await {
                Ok(ready) => self.scheduler.fire(&tx, ready, now).await?,
                Err(error) => {
                    tracing::error!(%organisation, %campaign, %error, "schedule cannot be read; it waits");
                    self.resting.insert(campaign, instant + REST);
                }
            }
        }
        tx.commit().await?;
        self.scheduler.outbox.wake();
        Ok(full)
    }
}

impl Scheduler {
    async fn read(&self, schedule: DueSchedule) -> Result<Ready, DbErr> {
        let DueSchedule { organisation, campaign, next_fire_ms, published } = schedule;
        let unreadable = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
        let nominal =
            Timestamp::from_millisecond(next_fire_ms).map_err(|error| unreadable(&error))?;
        let published = CampaignPublished::decode(published.as_slice());
        let document = published.map_err(|error| unreadable(&error))?.campaign.unwrap_or_default();
        let zone = self.zone(organisation).await?;
        let pending = pending_period(document.pending_period.as_ref());
        let occurrence = Occurrence::at_once(nominal, pending, &zone);
        Ok(Ready { organisation, campaign, document, occurrence })
    }

    async fn fire(
        &self,
        tx: &DatabaseTransaction,
        ready: Ready,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let Ready { organisation, campaign, document, occurrence } = ready;
        let run = RunId::of(campaign, NOW);
        let missed = occurrence.is_missed(now);
        let row = NewRun { run, campaign, key: NOW, occurrence: &occurrence, missed, now };
        let new = row.insert(tx, organisation).await?;
        store::clear_next_fire(tx, organisation, campaign).await?;
        if !new {
            return Ok(());
        }
        let body = if missed {
            let (nominal, deadline) = (occurrence.nominal, occurrence.deadline);
            tracing::warn!(%organisation, %run, %nominal, %deadline, "run missed: its deadline has passed");
            run_missed(campaign, run, &occurrence)
        } else {
            run_due(campaign, run, &occurrence, document)
        };
        self.outbox.append(tx, organisation, body).await.map(|_| ())
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

fn run_due(campaign: CampaignId, run: RunId, occurrence: &Occurrence, document: Campaign) -> Body {
    Body::RunDue(RunDue {
        campaign_id: campaign.to_wire(),
        run_id: run.to_wire(),
        run_day: occurrence.run_day,
        occurrence_key: NOW.into(),
        nominal_time: Some(time::to_wire(occurrence.nominal)),
        deadline: Some(time::to_wire(occurrence.deadline)),
        audience: document.audience,
        content: document.content,
        at_most_once_in: document.at_most_once_in,
    })
}

fn run_missed(campaign: CampaignId, run: RunId, occurrence: &Occurrence) -> Body {
    Body::RunMissed(RunMissed {
        campaign_id: campaign.to_wire(),
        run_id: run.to_wire(),
        occurrence_key: NOW.into(),
        nominal_time: Some(time::to_wire(occurrence.nominal)),
    })
}
