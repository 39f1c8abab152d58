//! Changes of who may be sent to: subscriptions, the blacklist, opt-outs. Dispatchers hear of them
//! in the transaction that makes them, so that they hold for queued messages too.

use std::time::Duration;

use carillon_audit::{Change, Deed, fields, tell};
use carillon_broker::topology::SUPPRESSION_CHANGED;
use carillon_contracts::{
    events::v1::{Suppression, SuppressionChanged, event::Body},
    ids::OrganisationId,
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::database::is_transient;
use carillon_tenancy::Caller;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Evaluator,
    domain::standing::{Standing, suppressions},
    failure::Failure,
    store,
};

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

/// What somebody asked for, as the audit tells of it.
pub(crate) struct Asked<'a> {
    pub act: &'static str,
    /// None: whatever it was asked for says it all.
    pub channels: &'a [Channel],
    /// Whoever a filter matched, not one customer.
    pub of_many: bool,
}

impl Asked<'_> {
    fn deed<'a>(&self, by: &'a Caller, changed: &[(&str, &Standing)]) -> Deed<'a> {
        let subject = match changed {
            [(external_id, _)] if !self.of_many => format!("customers/{external_id}"),
            _ => "customers".to_owned(),
        };
        let channels: Vec<&str> = self.channels.iter().map(|channel| channel.word()).collect();
        let mut told = fields([("customers", changed.len().into())]);
        if !channels.is_empty() {
            told.insert("channels".to_owned(), channels.into());
        }
        Deed { by, act: self.act, subject, change: Change::to(told) }
    }
}

impl Evaluator {
    /// Changes those of the customers that exist; `change` leaves the version alone.
    pub(crate) async fn change_standings(
        &self,
        caller: &Caller,
        external_ids: &[String],
        asked: &Asked<'_>,
        change: impl Fn(&mut Standing) + Send + Sync,
    ) -> Result<Changed, Failure> {
        for tries in 1.. {
            match self.try_change(caller, external_ids, asked, &change).await {
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
        caller: &Caller,
        external_ids: &[String],
        asked: &Asked<'_>,
        change: &(impl Fn(&mut Standing) + Send + Sync),
    ) -> Result<Changed, DbErr> {
        let organisation = caller.organisation;
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
        tell(&self.outbox, &tx, &asked.deed(caller, &rows)).await?;
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

    /// Waits until dispatchers have heard of all, 2 s at most; answers whether they have. Where
    /// nothing was to be told, it was before, and waits for what is still under way.
    pub(crate) async fn in_effect(&self, told: impl IntoIterator<Item = i64>) -> bool {
        let mut told: Vec<i64> = told.into_iter().collect();
        if told.is_empty() {
            match self.outbox.newest(SUPPRESSION_CHANGED).await {
                Ok(newest) => told.extend(newest),
                Err(error) => {
                    tracing::warn!(%error, "not known whether a change is in effect");
                    return false;
                }
            }
        }
        self.outbox.in_effect(told).await
    }
}

pub(crate) async fn pause(tries: u32) {
    tokio::time::sleep(PAUSE * tries).await;
}
