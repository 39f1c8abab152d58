//! Asks billing for what a batch has still to pay for, one batch of an organisation after the
//! other.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use sea_orm::DbErr;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{
    domain::unpaid::Unpaid,
    funds::{Ask, Funding},
    gateway::Gateway,
    open::Header,
    send::Calls,
    start::Dispatcher,
    store,
};

/// The batches that wait for credits of each organisation, in the order in which they ask: what
/// there is goes to the first of them, and not to all in parts.
#[derive(Default)]
pub(crate) struct Lines(HashMap<OrganisationId, oneshot::Receiver<bool>>);

/// A batch's place in its organisation's line. Whoever drops it lets the next one ask.
pub(crate) struct Place {
    before: Option<oneshot::Receiver<bool>>,
    after: oneshot::Sender<bool>,
}

impl Lines {
    /// Behind the last of the organisation.
    pub(crate) fn join(&mut self, organisation: OrganisationId) -> Place {
        self.0.retain(|_, last| matches!(last.try_recv(), Err(TryRecvError::Empty)));
        let (after, next) = oneshot::channel();
        Place { before: self.0.insert(organisation, next), after }
    }
}

impl Place {
    /// Waits for the turn. Answers whether the one before found billing within reach: each that
    /// asks in vain may take as long as a call does.
    async fn turn(&mut self) -> bool {
        let Some(before) = &mut self.before else { return true };
        let within_reach = before.await.unwrap_or(true);
        self.before = None;
        within_reach
    }

    fn pass(self, within_reach: bool) {
        // Nobody may stand behind.
        let _ = self.after.send(within_reach);
    }
}

impl<G: Gateway> Dispatcher<G> {
    /// Of a batch that was delivered. Where nothing will be claimed, nothing is held.
    pub(crate) async fn fund_delivered(
        &self,
        calls: &Calls<G>,
        is_known: bool,
    ) -> Result<Funding, DbErr> {
        if self.funds.is_none() {
            return Ok(Funding::Free);
        }
        if self.stands_still(calls).await? {
            return Ok(Funding::Unavailable);
        }
        let (header, opened) = (&calls.header, &calls.opened);
        let mut unpaid = Unpaid::whole(&opened.units());
        if is_known {
            let reader = self.store.database.reader();
            store::see_rows(reader, header.run_day, header.batch, &mut unpaid).await?;
        }
        self.ask_funds(header, opened.wanted(), unpaid).await
    }

    /// Of a batch that waits, at its turn.
    pub(crate) async fn fund_waiting(
        &self,
        calls: &Calls<G>,
        wanted: i64,
        mut place: Place,
    ) -> Result<Funding, DbErr> {
        if self.stands_still(calls).await? {
            return Ok(Funding::Unavailable);
        }
        if !place.turn().await {
            place.pass(false);
            return Ok(Funding::Unavailable);
        }
        let (header, mut unpaid) = (&calls.header, Unpaid::default());
        let reader = self.store.database.reader();
        store::see_rows(reader, header.run_day, header.batch, &mut unpaid).await?;
        let funding = self.ask_funds(header, wanted, unpaid).await?;
        place.pass(funding != Funding::Unavailable);
        Ok(funding)
    }

    async fn ask_funds(
        &self,
        header: &Header,
        wanted: i64,
        unpaid: Unpaid,
    ) -> Result<Funding, DbErr> {
        let Some(funds) = &self.funds else { return Ok(Funding::Free) };
        if unpaid.is_nothing() {
            // What was granted before counts.
            return Ok(Funding::Granted { units: 0, raises: 0 });
        }
        // Read before asking, so that a raise between the answer and the claim is noticed.
        let raises = store::raises(self.store.database.reader(), header.organisation).await?;
        let ask = Ask {
            organisation: header.organisation,
            campaign: header.campaign,
            run: header.run,
            batch: header.batch,
            wanted,
            used: unpaid.used,
            units: unpaid.into_units(),
        };
        Ok(match funds.hold(ask).await {
            Ok(units) => Funding::Granted { units, raises },
            Err(error) => {
                tracing::warn!(batch = %header.batch, %error, "waiting for billing");
                Funding::Unavailable
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn organisation(number: u128) -> OrganisationId {
        OrganisationId::new(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn one_of_an_organisation_asks_after_the_other() {
        let mut lines = Lines::default();
        let mut first = lines.join(organisation(1));
        let mut second = lines.join(organisation(1));
        let mut elsewhere = lines.join(organisation(2));
        assert!(first.turn().await && elsewhere.turn().await);
        let early = tokio::time::timeout(Duration::ZERO, second.turn()).await;
        assert!(early.is_err(), "the first has not asked yet");
        first.pass(true);
        assert!(second.turn().await);
        let mut third = lines.join(organisation(1));
        drop(second);
        assert!(third.turn().await, "who gives up stands in nobody's way");
    }

    #[tokio::test]
    async fn who_asked_in_vain_says_so_to_those_behind() {
        let mut lines = Lines::default();
        let first = lines.join(organisation(1));
        let mut second = lines.join(organisation(1));
        let third = lines.join(organisation(1));
        first.pass(false);
        assert!(!second.turn().await);
        drop(second);
        drop(third);
        assert!(lines.join(organisation(1)).turn().await, "later ones ask again");
    }
}
