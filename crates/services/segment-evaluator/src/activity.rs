//! Activity: visits, purchases, sessions, reviews and points, each once by its event id.

use std::collections::{BTreeMap, HashSet};

use carillon_audit::{Change, Deed, acts, fields, tell};
use carillon_contracts::{
    audience::v1::{Activity, ImportActivitiesRequest, ImportResponse},
    ids::OrganisationId,
};
use carillon_service_kit::database::is_transient;
use carillon_tenancy::Caller;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        activity::{Checked, check},
        fault::Fault,
    },
    failure::Failure,
    import::check_rows,
    standing::{TRIES, pause},
    store::{self, ActivityRow},
    upsert::Outcome,
};

impl Evaluator {
    pub(crate) async fn import_activities(
        &self,
        caller: &Caller,
        request: ImportActivitiesRequest,
    ) -> Result<ImportResponse, Status> {
        check_rows("activities", request.activities.len())?;
        Ok(self.store_activities(caller, request.activities).await?.into())
    }

    async fn store_activities(
        &self,
        caller: &Caller,
        activities: Vec<Activity>,
    ) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let mut outcome = Outcome::default();
        let mut checked = Vec::with_capacity(activities.len());
        for (index, activity) in activities.into_iter().enumerate() {
            match check(activity, now) {
                Err(fault) => outcome.rejects.push((index, fault)),
                Ok(activity) => checked.push((index, activity)),
            }
        }
        for tries in 1..=TRIES {
            let mut outcome = outcome.clone();
            match self.try_to_store(caller, &checked, now, &mut outcome).await {
                Ok(true) => {
                    self.outbox.wake();
                    outcome.rejects.sort_by_key(|(index, _)| *index);
                    return Ok(outcome);
                }
                Err(error) if tries < TRIES && is_transient(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(false) => {}
            }
            pause(tries).await;
        }
        Err(Failure::Contended)
    }

    /// Answers `false`, with nothing written, where somebody else stores one of them at the same
    /// time.
    async fn try_to_store(
        &self,
        caller: &Caller,
        checked: &[(usize, Checked)],
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<bool, DbErr> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await?;
        let new = sort_out(&tx, organisation, checked, outcome).await?;
        if !new.is_empty() && !write(&tx, organisation, &new, now.as_millisecond()).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        if !new.is_empty() {
            let change = Change::to(fields([("stored", new.len().into())]));
            let (act, subject) = (acts::ACTIVITIES_IMPORTED, "activities".to_owned());
            tell(&self.outbox, &tx, &Deed { by: caller, act, subject, change }).await?;
        }
        tx.commit().await?;
        outcome.stored = u32::try_from(new.len()).unwrap_or(u32::MAX);
        Ok(true)
    }
}

/// Those that are new. The same event again is unchanged; one whose id was used for another, or
/// of an unknown customer, is a reject.
async fn sort_out(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    checked: &[(usize, Checked)],
    outcome: &mut Outcome,
) -> Result<Vec<Checked>, DbErr> {
    let event_ids: Vec<&str> =
        checked.iter().map(|(_, activity)| activity.event_id.as_str()).collect();
    let mut known = store::known_activities(tx, organisation, &event_ids).await?;
    let customers: HashSet<&String> =
        checked.iter().map(|(_, activity)| &activity.external_id).collect();
    let customers: Vec<String> = customers.into_iter().cloned().collect();
    let customers = store::external_ids(tx, organisation, &customers).await?;
    let customers: HashSet<String> = customers.into_iter().collect();
    let mut new = Vec::with_capacity(checked.len());
    for (index, activity) in checked {
        match known.get(&activity.event_id) {
            Some(before) if *before == row(activity) => outcome.unchanged += 1,
            Some(_) => outcome.rejects.push((*index, reused())),
            None if !customers.contains(&activity.external_id) => {
                outcome.rejects.push((*index, customer_unknown()));
            }
            None => {
                known.insert(activity.event_id.clone(), row(activity));
                new.push(activity.clone());
            }
        }
    }
    Ok(new)
}

/// Answers `false` where one of them is stored by somebody else. In one order for all, so that
/// replicas wait for each other, not in a circle.
async fn write(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    new: &[Checked],
    at: i64,
) -> Result<bool, DbErr> {
    let mut points: BTreeMap<&str, i64> = BTreeMap::new();
    for activity in new.iter().filter(|activity| activity.points() != 0) {
        *points.entry(&activity.external_id).or_default() += activity.points();
    }
    let points: Vec<(&str, i64)> = points.into_iter().collect();
    let ids: Vec<&str> = points.iter().map(|(id, _)| *id).collect();
    if !ids.is_empty() {
        store::versions(tx, organisation, &ids).await?;
    }
    let mut rows: Vec<ActivityRow> = new.iter().map(row).collect();
    rows.sort_by(|one, other| one.event_id.cmp(&other.event_id));
    if !store::add_activities(tx, organisation, &rows, at).await? {
        return Ok(false);
    }
    if !points.is_empty() {
        store::add_points(tx, organisation, &points, at).await?;
    }
    Ok(true)
}

fn row(activity: &Checked) -> ActivityRow {
    ActivityRow {
        event_id: activity.event_id.clone(),
        external_id: activity.external_id.clone(),
        kind: activity.kind.word().into(),
        at: activity.at,
        amount: activity.amount,
        rating: activity.rating.clone(),
    }
}

fn reused() -> Fault {
    let message = "was used before for another activity; give each its own id";
    Fault::new("event_id", "event_id_reused", message)
}

fn customer_unknown() -> Fault {
    let message = "is not a customer of the organisation; import the customer first";
    Fault::new("external_id", "customer_unknown", message)
}
