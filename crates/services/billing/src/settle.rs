//! Settle: a batch's totals move what was held to spent, and give the rest back. Of totals the
//! newest version wins, so they may come late, twice, and in any order.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{BalanceRaised, DeliveryChanged, Event, event::Body},
    ids::{BatchId, CampaignId, InvalidId, OrganisationId, RunId},
};
use carillon_outbox::{Handler, HandlerError};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Billing,
    domain::hold::{HoldRow, Whose},
    store::{self, Reference},
};

pub(crate) struct Settle(pub Billing);

#[async_trait]
impl Handler for Settle {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let wrong = |what: &str| HandlerError::Event(format!("delivery.changed: {what}"));
        let Some(Body::DeliveryChanged(changed)) = &event.body else {
            return Err(wrong("no body"));
        };
        let whose = whose(event, changed).map_err(|error| wrong(&error.to_string()))?;
        self.0.settle(tx, whose, changed).await
    }

    fn committed(&self) {
        self.0.outbox.wake();
    }
}

fn whose(event: &Event, changed: &DeliveryChanged) -> Result<Whose, InvalidId> {
    Ok(Whose {
        organisation: OrganisationId::from_wire(&event.organisation_id)?,
        batch: BatchId::from_wire(&changed.batch_id)?,
        campaign: Some(CampaignId::from_wire(&changed.campaign_id)?),
        run: Some(RunId::from_wire(&changed.run_id)?),
    })
}

impl Billing {
    async fn settle(
        &self,
        tx: &DatabaseTransaction,
        whose: Whose,
        changed: &DeliveryChanged,
    ) -> Result<(), HandlerError> {
        let Whose { organisation, batch, .. } = whose;
        let totals = changed
            .totals
            .as_ref()
            .ok_or_else(|| HandlerError::Event("delivery.changed: no totals".into()))?;
        let mut ledger = store::lock_account(tx, organisation).await?;
        let known = store::hold(tx, organisation, batch).await?.unwrap_or_default();
        if totals.version.cast_signed() <= known.version {
            return Ok(());
        }
        let row = known.after(totals);
        store::save_hold(tx, whose, row).await?;
        let before = ledger.account.available;
        HoldRow::settle(known.split(), row.split(), &mut ledger);
        let raised = ledger.account.available > before;
        let at_ms = self.clock.now_ms();
        store::save(tx, organisation, ledger, Reference::Batch(batch), at_ms).await?;
        if raised {
            self.tell_raised(tx, organisation).await?;
        }
        Ok(())
    }

    /// Tells dispatchers to ask again, if any batch waits for credits.
    pub(crate) async fn tell_raised(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<(), DbErr> {
        if store::any_short(tx, organisation).await? {
            let available = store::account(tx, organisation).await?.available.cast_unsigned();
            let raised = Body::BalanceRaised(BalanceRaised { available });
            self.outbox.append(tx, organisation, raised).await?;
        }
        Ok(())
    }
}
