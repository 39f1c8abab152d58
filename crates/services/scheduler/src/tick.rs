//! Tick: what is due becomes a run, once. Any number of replicas may tick. Neither a database that
//! is out of reach nor a schedule that cannot be read ends it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_calendar::{Occurrence, Schedule, pending_period};
use carillon_contracts::{
    campaign::v1::Campaign,
    events::v1::{CampaignPublished, RunDue, RunMissed, event::Body},
    ids::{CampaignId, OrganisationId, RunId},
    time,
};
use carillon_service_kit::{Stop, database::is_transient, faults, telemetry};
use carillon_tenancy::Tenancy;
use jiff::{Timestamp, tz::TimeZone};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};
use tracing::Instrument as _;

use crate::{
    Scheduler,
    domain::{Verdict, judge},
    store::{self, DueSchedule, NewRun},
};

const EVERY: Duration = Duration::from_millis(250);
const MOST_AT_ONCE: i64 = 100;
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
    /// `None` where nothing more will be due.
    occurrence: Option<Occurrence>,
    resumed: Option<Timestamp>,
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
        if due.is_empty() {
            // Another replica has them.
            return Ok(false);
        }
        let full = i64::try_from(due.len()).is_ok_and(|due| due >= MOST_AT_ONCE);
        for schedule in due {
            let (organisation, campaign) = (schedule.organisation, schedule.campaign);
            let span = tracing::info_span!("fire", %organisation, %campaign);
            telemetry::with_remote_parent(&span, &schedule.traceparent);
            match read(&tx, schedule).await {
                Ok(ready) => self.scheduler.fire(&tx, ready, now).instrument(span).await?,
                Err(error) if is_transient(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(%organisation, %campaign, %error, "schedule cannot be read; it waits");
                    self.resting.insert(campaign, instant + REST);
                }
            }
        }
        faults::commit(tx, "schedule.fire").await?;
        self.scheduler.outbox.wake();
        Ok(full)
    }
}

impl Scheduler {
    async fn fire(
        &self,
        tx: &DatabaseTransaction,
        ready: Ready,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let Ready { organisation, campaign, document, occurrence, resumed } = ready;
        let Some(occurrence) = occurrence else {
            return store::set_next_fire(tx, organisation, campaign, None).await;
        };
        let missed = match judge(&occurrence, resumed, now) {
            Verdict::Wait(until) => {
                let until = Some(until.as_millisecond());
                return store::set_next_fire(tx, organisation, campaign, until).await;
            }
            Verdict::Fire => false,
            Verdict::Miss => true,
        };
        let run = RunId::of(campaign, &occurrence.key);
        let row = NewRun { run, campaign, occurrence: &occurrence, missed, now };
        let new = row.insert(tx, organisation).await?;
        store::set_next_fire(tx, organisation, campaign, None).await?;
        if !new {
            return Ok(());
        }
        let body = if missed {
            let (nominal, deadline) = (occurrence.nominal, occurrence.deadline);
            tracing::warn!(%organisation, %run, %nominal, %deadline, "run missed: it is too late");
            run_missed(campaign, run, &occurrence)
        } else {
            run_due(campaign, run, &occurrence, document)
        };
        self.outbox.append(tx, organisation, body).await.map(|_| ())
    }
}

async fn read(tx: &DatabaseTransaction, schedule: DueSchedule) -> Result<Ready, DbErr> {
    let DueSchedule { organisation, campaign, resumed_ms, published, .. } = schedule;
    let unreadable = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
    let published =
        CampaignPublished::decode(published.as_slice()).map_err(|error| unreadable(&error))?;
    let started = published.start_time.as_ref().and_then(time::from_wire);
    let started = started.ok_or_else(|| unreadable(&"no start_time"))?;
    let document = published.campaign.unwrap_or_default();
    let schedule =
        Schedule::from_wire(document.schedule.as_ref()).map_err(|error| unreadable(&error))?;
    let zone = zone(tx, organisation).await?;
    let pending = pending_period(document.pending_period.as_ref());
    // Whatever its schedule, it has one occurrence, also if it is late.
    let occurrence = schedule.occurrences(&zone, pending, started, Timestamp::MIN).next();
    let resumed = resumed_ms.map(Timestamp::from_millisecond).transpose();
    let resumed = resumed.map_err(|error| unreadable(&error))?;
    Ok(Ready { organisation, campaign, document, occurrence, resumed })
}

/// The organisation's zone. It was checked when it was set; one that this machine's database of
/// zones lacks counts as UTC, which moves the run's day, never its time.
async fn zone(tx: &DatabaseTransaction, organisation: OrganisationId) -> Result<TimeZone, DbErr> {
    let known = Tenancy::organisation_within(tx, organisation).await?;
    let name = known.map_or_else(String::new, |document| document.time_zone);
    Ok(TimeZone::get(&name).unwrap_or_else(|error| {
        tracing::error!(%organisation, zone = name, %error, "time zone not found; taking UTC");
        TimeZone::UTC
    }))
}

fn run_due(campaign: CampaignId, run: RunId, occurrence: &Occurrence, document: Campaign) -> Body {
    Body::RunDue(RunDue {
        campaign_id: campaign.to_wire(),
        run_id: run.to_wire(),
        run_day: occurrence.run_day,
        occurrence_key: occurrence.key.clone(),
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
        occurrence_key: occurrence.key.clone(),
        nominal_time: Some(time::to_wire(occurrence.nominal)),
    })
}
