//! Plan: cuts runs into batches, step by step. Runs of several organisations take turns. Neither a
//! database that is out of reach nor a run that cannot be read ends it.

mod block;
mod late;
mod step;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_contracts::ids::{OrganisationId, RunId};
use carillon_service_kit::{Stop, telemetry};
use sea_orm::DbErr;
use tracing::Instrument as _;

use crate::{
    Evaluator,
    store::{self, OpenRun},
};
pub(crate) use late::claim_late;
use step::{Prepared, Stepped};

const IDLE: Duration = Duration::from_millis(250);
/// After an error of the database.
const BACK_OFF: Duration = Duration::from_secs(1);
/// A run whose step failed is left alone for this long, so that it holds up no other.
const REST: Duration = Duration::from_secs(5);

/// The loop's memory: nothing in it is needed after a restart.
struct Planner {
    evaluator: Evaluator,
    prepared: HashMap<RunId, Arc<Prepared>>,
    resting: HashMap<RunId, Instant>,
}

impl Evaluator {
    pub(crate) async fn plan(self, stop: Stop) -> Result<(), DbErr> {
        let mut planner =
            Planner { evaluator: self, prepared: HashMap::new(), resting: HashMap::new() };
        while !stop.is_stopping() {
            match planner.round(&stop).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "open runs not read; trying again");
                    stop.sleep(BACK_OFF).await;
                    continue;
                }
            }
            tokio::select! {
                () = planner.evaluator.plan_soon.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }
}

impl Planner {
    /// One step for each organisation that has an open run; answers whether there was any to do.
    async fn round(&mut self, stop: &Stop) -> Result<bool, DbErr> {
        let reader = self.evaluator.database.reader();
        let open = store::open_runs_of_all_organisations(reader).await?;
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        self.prepared.retain(|run, _| open.iter().any(|one| one.run == *run));
        let mut served: HashSet<OrganisationId> = HashSet::new();
        let mut worked = false;
        for OpenRun { organisation, run } in open {
            if stop.is_stopping() {
                break;
            }
            if self.resting.contains_key(&run) || !served.insert(organisation) {
                continue;
            }
            worked |= self.step(organisation, run).await;
        }
        Ok(worked)
    }

    /// Answers whether the run moved.
    async fn step(&mut self, organisation: OrganisationId, run: RunId) -> bool {
        let known = self.prepared.get(&run).map(Arc::clone);
        let prepared = match known {
            Some(prepared) => Ok(prepared),
            None => self.evaluator.prepare_run(organisation, run).await.map(Arc::new),
        };
        let stepped = match prepared {
            Ok(prepared) => {
                self.prepared.insert(run, Arc::clone(&prepared));
                let span = tracing::info_span!("plan", %run);
                telemetry::with_remote_parent(&span, prepared.traceparent());
                self.evaluator.plan_step(&prepared).instrument(span).await
            }
            Err(error) => Err(error),
        };
        match stepped {
            Ok(Stepped::Moved) => true,
            Ok(Stepped::NotYet) => false,
            Err(error) => {
                tracing::error!(%run, %error, "a step of a plan failed; trying again");
                self.resting.insert(run, Instant::now() + REST);
                false
            }
        }
    }
}
