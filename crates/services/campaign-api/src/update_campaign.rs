//! Update a draft's fields that a mask names; of a started campaign only whether it is active.

use carillon_audit::{Change, acts};
use carillon_contracts::campaign::v1::{Campaign, CampaignState, UpdateCampaignRequest};
use carillon_service_kit::status::{internal, invalid, invalid_fields, refused};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{
        audited,
        campaign::{self, SETTABLE},
        lifecycle::Order,
        mask,
    },
    grpc::{find_campaign, locked_campaign},
    store::{self, CampaignRow, Saved},
};

impl CampaignApi {
    pub(crate) async fn update_campaign(
        &self,
        caller: &Caller,
        request: UpdateCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let UpdateCampaignRequest { campaign: given, update_mask } = request;
        let given = given.ok_or_else(|| invalid("campaign", "is missing; give at least its id"))?;
        let paths = mask::paths(update_mask.as_ref(), SETTABLE).map_err(invalid_fields)?;
        let current =
            find_campaign(self.database.reader(), organisation, "campaign.id", &given.id).await?;
        let document = campaign::settable(campaign::merged(&current.document, given, &paths));
        if current.state != CampaignState::Draft {
            let document = campaign::still_pinned(&current.document, document);
            return self.switch(caller, current, document).await;
        }
        let document = self.checked_campaign(organisation, document).await?;
        let change =
            Change::between(audited::campaign(&current.document), audited::campaign(&document));
        let row = CampaignRow {
            document,
            version: current.version + 1,
            updated_ms: self.clock.now_ms(),
            ..current
        };
        let tx = self.database.begin().await.map_err(internal)?;
        let saved = store::save_campaign(&tx, organisation, &row).await.map_err(internal)?;
        if saved == Saved::Changed {
            return Err(changed_meanwhile(&row));
        }
        self.record(&tx, caller, acts::CAMPAIGN_UPDATED, row.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(row.into_campaign())
    }

    /// Of a started campaign nothing can be changed but whether it is active: switched off it is
    /// paused, and switched on again it goes on.
    async fn switch(
        &self,
        caller: &Caller,
        seen: CampaignRow,
        document: Campaign,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let switched = Campaign { active: document.active, ..seen.document.clone() };
        if document != switched {
            return Err(refused(
                "NOT_A_DRAFT",
                format!(
                    "campaign.id: campaign {} was started, and of such a one only `active` can be \
                     changed; create another one",
                    seen.id
                ),
            ));
        }
        if document == seen.document {
            return Ok(self.answered_campaign(seen).await);
        }
        let order = if document.active { Order::Resume } else { Order::Pause };
        let tx = self.database.begin().await.map_err(internal)?;
        let id = seen.id.to_string();
        let current = locked_campaign(&tx, organisation, "campaign.id", &id).await?;
        if current.version != seen.version {
            return Err(changed_meanwhile(&current));
        }
        let mut row = self.ordered(&tx, caller, current, order, document.active).await?;
        if row.version == seen.version {
            // It was paused before: there is nothing to tell, but the switch is kept.
            row.version += 1;
            row.document.active = document.active;
            row.updated_ms = self.clock.now_ms();
            store::save_campaign(&tx, organisation, &row).await.map_err(internal)?;
            let change = Change::between(
                audited::campaign(&seen.document),
                audited::campaign(&row.document),
            );
            self.record(&tx, caller, acts::CAMPAIGN_UPDATED, row.subject(), change)
                .await
                .map_err(internal)?;
        }
        tx.commit().await.map_err(internal)?;
        Ok(self.answered_campaign(row).await)
    }

    /// The campaign, and whether every service obeys what was last ordered of it.
    async fn answered_campaign(&self, row: CampaignRow) -> Campaign {
        let in_effect = Some(self.obeyed(&row).await);
        Campaign { in_effect, ..row.into_campaign() }
    }
}

fn changed_meanwhile(row: &CampaignRow) -> Status {
    Status::aborted(format!(
        "campaign.id: campaign {} was changed or started at the same moment; read it and try again",
        row.id
    ))
}
