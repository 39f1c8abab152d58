//! Start a campaign. Starting it again changes nothing and answers the same.

use carillon_audit::{Change, acts, fields};
use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState, StartCampaignRequest},
    events::v1::{CampaignPublished, event::Body},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::status::{internal, refused};
use carillon_tenancy::Caller;
use jiff::{Timestamp, tz::TimeZone};
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{lifecycle::word, schedule, validity},
    grpc::{locked_campaign, no_organisation},
    store::{self, CampaignRow},
};

impl CampaignApi {
    pub(crate) async fn start_campaign(
        &self,
        caller: &Caller,
        request: StartCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let zone = self.zone(organisation).await?;
        let now = self.clock.now();
        let tx = self.database.begin().await.map_err(internal)?;
        let mut current = locked_campaign(&tx, organisation, "id", &request.id).await?;
        if current.state == CampaignState::Cancelled {
            return Err(refused(
                "CAMPAIGN_CANCELLED",
                format!(
                    "id: campaign {} is cancelled, and is not started again; copy it (`carillon \
                     campaign copy`), and start the copy",
                    current.id
                ),
            ));
        }
        if current.state != CampaignState::Draft {
            return Ok(current.into_campaign());
        }
        check_startable(&current, &zone, now)?;
        current.document.test = caller.key.test;
        let change = Change::between(
            fields([("state", word(current.state).into())]),
            fields([
                ("state", word(current.started_state()).into()),
                ("test", caller.key.test.then_some(true).into()),
            ]),
        );
        self.record(&tx, caller, acts::CAMPAIGN_STARTED, current.subject(), change)
            .await
            .map_err(internal)?;
        self.launch(tx, organisation, current, now).await
    }

    /// Starts a draft that the transaction holds.
    pub(crate) async fn launch(
        &self,
        tx: DatabaseTransaction,
        organisation: OrganisationId,
        draft: CampaignRow,
        now: Timestamp,
    ) -> Result<Campaign, Status> {
        let started = CampaignRow {
            state: draft.started_state(),
            version: draft.version + 1,
            updated_ms: now.as_millisecond(),
            started_ms: Some(now.as_millisecond()),
            ..draft
        };
        let (id, campaign) = (started.id, started.clone().into_campaign());
        // The content goes all the way to where messages leave.
        let mut published = campaign.clone();
        if let Some(content) = &mut published.content {
            content.test = campaign.test;
        }
        let published = CampaignPublished {
            campaign_id: id.to_wire(),
            version: campaign.version,
            campaign: Some(published),
            start_time: Some(time::to_wire(now)),
        };
        let stored = async {
            store::save_campaign(&tx, organisation, &started).await?;
            self.outbox.append(&tx, organisation, Body::CampaignPublished(published)).await?;
            tx.commit().await
        };
        stored.await.map_err(|error: DbErr| internal(error))?;
        self.outbox.wake();
        Ok(campaign)
    }

    pub(crate) async fn zone(&self, organisation: OrganisationId) -> Result<TimeZone, Status> {
        let known = self.tenancy.organisation(organisation).await.map_err(internal)?;
        let known = known.ok_or_else(|| no_organisation(organisation))?;
        TimeZone::get(&known.time_zone).map_err(internal)
    }
}

fn check_startable(current: &CampaignRow, zone: &TimeZone, now: Timestamp) -> Result<(), Status> {
    let CampaignRow { id, document, .. } = current;
    if current.archived_ms.is_some() {
        return Err(refused(
            "CAMPAIGN_ARCHIVED",
            format!(
                "id: campaign {id} is archived and can't be started; copy it with `carillon campaign \
                 copy {id}`, and start the copy"
            ),
        ));
    }
    if !document.active {
        return Err(refused(
            "CAMPAIGN_INACTIVE",
            format!("active: campaign {id} is not active and can't be started; set active: true"),
        ));
    }
    if let Some(rule) = schedule::refusal(document, zone, now) {
        return Err(refused("CAMPAIGN_TIME_OVER", rule));
    }
    if current.is_scheduled() {
        // Its time lies within its days, whatever day it is today.
        return Ok(());
    }
    let today = zone.to_datetime(now).date();
    let valid = document.valid.clone().unwrap_or_default();
    let name = zone.iana_name().unwrap_or("UTC");
    match validity::refusal(&valid, today, name) {
        Some(rule) => Err(refused("CAMPAIGN_NOT_VALID_TODAY", rule)),
        None => Ok(()),
    }
}
