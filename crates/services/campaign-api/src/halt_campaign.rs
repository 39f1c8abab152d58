//! Pause, resume and cancel a campaign. Doing it again changes nothing and answers the same.

use carillon_audit::{Change, acts};
use carillon_contracts::{
    campaign::v1::HaltCampaignResponse,
    events::v1::{CampaignHalted, event::Body},
};
use carillon_service_kit::status::{internal, refused};
use carillon_tenancy::Caller;
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{
        audited,
        lifecycle::{Order, Refusal},
    },
    grpc::locked_campaign,
    report,
    store::{self, CampaignRow},
};

impl CampaignApi {
    /// Answers once every service obeys, or after 2 s: it is stored then, and soon will hold.
    pub(crate) async fn halt_campaign(
        &self,
        caller: &Caller,
        id: &str,
        order: Order,
    ) -> Result<HaltCampaignResponse, Status> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let current = locked_campaign(&tx, organisation, "id", id).await?;
        let active = current.document.active;
        let ordered = self.ordered(&tx, caller, current, order, active).await?;
        tx.commit().await.map_err(internal)?;
        // One that was never halted is as it was started.
        let in_effect = match ordered.halt_told {
            Some(told) => self.in_effect(Some(told)).await?,
            None => true,
        };
        Ok(HaltCampaignResponse { campaign: Some(ordered.into_campaign()), in_effect })
    }

    /// The locked campaign after an order, stored with its switch and told of if that changes its
    /// state.
    pub(crate) async fn ordered(
        &self,
        tx: &DatabaseTransaction,
        caller: &Caller,
        current: CampaignRow,
        order: Order,
        active: bool,
    ) -> Result<CampaignRow, Status> {
        let organisation = caller.organisation;
        let begun = report::has_begun(tx, organisation, current.id).await.map_err(internal)?;
        let begun = begun || !current.is_scheduled();
        let state = order
            .applied(current.state, begun)
            .map_err(|refusal| explain(refusal, order, &current))?;
        if state == current.state {
            return Ok(current);
        }
        if order == Order::Resume && caller.key.test && !current.document.test {
            return Err(refused(
                "TEST_KEY",
                format!(
                    "id: campaign {} was not started with a test key, and its messages reach their \
                     gateways, so a test key can't resume it; use another key",
                    current.id
                ),
            ));
        }
        let before = audited::standing(current.state, &current.document);
        let mut row = CampaignRow {
            state,
            version: current.version + 1,
            updated_ms: self.clock.now_ms(),
            ..current
        };
        // Who resumes a campaign that was switched off means it to be on.
        row.document.active = active || order == Order::Resume;
        let halted = CampaignHalted {
            campaign_id: row.id.to_wire(),
            halt: order.halt().into(),
            version: row.version,
        };
        let stored = async {
            let told = self.outbox.append(tx, organisation, Body::CampaignHalted(halted)).await?;
            row.halt_told = Some(told);
            store::save_campaign(tx, organisation, &row).await?;
            let change = Change::between(before, audited::standing(row.state, &row.document));
            self.record(tx, caller, act(order), row.subject(), change).await
        };
        stored.await.map_err(|error: DbErr| internal(error))?;
        Ok(row)
    }
}

fn act(order: Order) -> &'static str {
    match order {
        Order::Pause => acts::CAMPAIGN_PAUSED,
        Order::Resume => acts::CAMPAIGN_RESUMED,
        Order::Cancel => acts::CAMPAIGN_CANCELLED,
    }
}

fn explain(refusal: Refusal, order: Order, current: &CampaignRow) -> Status {
    let id = current.id;
    let verb = match order {
        Order::Pause => "paused",
        Order::Resume => "resumed",
        Order::Cancel => "cancelled",
    };
    match refusal {
        Refusal::NotStarted => refused(
            "CAMPAIGN_NOT_STARTED",
            format!(
                "id: campaign {id} is a draft and sends nothing, so it can't be {verb}; start it first"
            ),
        ),
        Refusal::Cancelled => refused(
            "CAMPAIGN_CANCELLED",
            format!(
                "id: campaign {id} was cancelled, which is final, so it can't be {verb}; create another one"
            ),
        ),
        Refusal::Finished => refused(
            "CAMPAIGN_FINISHED",
            format!(
                "id: campaign {id} is finished, every message of it is settled, so it can't be {verb}"
            ),
        ),
    }
}
