//! Changes of who may be sent to: subscriptions, the blacklist, opt-outs. Dispatchers hear of them
//! in the transaction that makes them, so that they hold for queued messages too.

use std::time::{Duration, Instant};

use carillon_contracts::{
    events::v1::{Suppression, SuppressionChanged, event::Body},
    ids::OrganisationId,
};
use carillon_service_kit::database::is_transient;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Evaluator,
    domain::standing::{Standing, suppressions},
    failure::Failure,
    store,
};

/// How long an answer waits for a change to be in effect.
const IN_EFFECT: Duration = Duration::from_secs(2);
/// Writers that met others on the same rows try again this often, a little later each time.
pub(crate) const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// What a change of many came to.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub customers: u64,
    /// The event's row, where anything changed.
    pub told: Option<i64>,
}

impl Evaluator {
    /// Changes those of the customers that exist; `change` leaves the version alone.
    pub(crate) async fn change_standings(
        &self,
        organisation: OrganisationId,
        external_ids: &[String],
        change: impl Fn(&mut Standing) + Send + Sync,
    ) -> Result<Changed, Failure> {
        for tries in 1.. {
            match self.try_change(organisation, external_ids, &change).await {
                Err(error) if tries < TRIES && is_transient(&error) => pause(tries).await,
                done => {
                    self.outbox.wake();
                    return Ok(done?);
                }
            }
        }
        Err(Failure::Contended)
    }

    async fn try_change(
        &self,
        organisation: OrganisationId,
        external_ids: &[String],
        change: &(impl Fn(&mut Standing) + Send + Sync),
    ) -> Result<Changed, DbErr> {
        let tx = self.database.begin().await?;
        let known = store::standings(&tx, organisation, external_ids).await?;
        let mut changed = Vec::new();
        let mut told = Vec::new();
        for (external_id, before) in &known {
            let mut after = *before;
            change(&mut after);
            if after != *before {
                after.version += 1;
                told.extend(suppressions(before, &after));
                changed.push((external_id.as_str(), after));
            }
        }
        if changed.is_empty() {
            tx.rollback().await?;
            return Ok(Changed::default());
        }
        let rows: Vec<(&str, &Standing)> = changed.iter().map(|(id, to)| (*id, to)).collect();
        store::set_standings(&tx, organisation, &rows, self.clock.now_ms()).await?;
        let told = self.tell_suppressions(&tx, organisation, told).await?;
        tx.commit().await?;
        Ok(Changed { customers: changed.len() as u64, told })
    }

    /// Answers the event's row, if there is anything to tell.
    pub(crate) async fn tell_suppressions(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        suppressions: Vec<Suppression>,
    ) -> Result<Option<i64>, DbErr> {
        if suppressions.is_empty() {
            return Ok(None);
        }
        let body = Body::SuppressionChanged(SuppressionChanged { suppressions });
        self.outbox.append(tx, organisation, body).await.map(Some)
    }

    /// Waits until dispatchers have heard of all, 2 s at most; answers whether they have.
    pub(crate) async fn in_effect(
        &self,
        told: impl IntoIterator<Item = i64>,
    ) -> Result<bool, DbErr> {
        let begun = Instant::now();
        for row in told {
            let left = IN_EFFECT.saturating_sub(begun.elapsed());
            if !self.outbox.passed(row, left).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(crate) async fn pause(tries: u32) {
    tokio::time::sleep(PAUSE * tries).await;
}
