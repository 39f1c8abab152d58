//! Create a campaign: a draft that sends nothing.

use carillon_audit::{Change, acts};
use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState, CreateCampaignRequest},
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::{
    database::Sql,
    status::{internal, invalid, invalid_fields},
};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    audience::CheckError,
    domain::{audited, campaign, content},
    request::Request,
    store::{self, CampaignRow},
};

impl CampaignApi {
    pub(crate) async fn create_campaign(
        &self,
        caller: &Caller,
        request: CreateCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let CreateCampaignRequest { campaign, request_id, validate_only } = request;
        let given = campaign.ok_or_else(|| {
            invalid("campaign", "is missing; give its name, audience, schedule and content")
        })?;
        let document =
            Campaign { test_of: String::new(), test: false, ..campaign::settable(given) };
        let request = Request::new(request_id, &document)?;
        let reader = self.database.reader();
        if let Some(known) = repeated(reader, organisation, request.as_ref()).await? {
            return Ok(known.into_campaign());
        }
        let document = self.checked_campaign(organisation, document).await?;
        let now_ms = self.clock.now_ms();
        let row = CampaignRow {
            id: CampaignId::random(),
            document,
            state: CampaignState::Draft,
            version: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
            started_ms: None,
            halt_told: None,
        };
        if validate_only {
            let draft = row.into_campaign();
            return Ok(Campaign {
                id: String::new(),
                create_time: None,
                update_time: None,
                ..draft
            });
        }
        let tx = self.database.begin().await.map_err(internal)?;
        if let Some(known) = repeated(&tx, organisation, request.as_ref()).await? {
            return Ok(known.into_campaign());
        }
        let stored = store::insert_campaign(&tx, organisation, &row, request.as_ref());
        if !stored.await.map_err(internal)? {
            // Another replica carried the same request out, between the look and the write.
            let known = repeated(&tx, organisation, request.as_ref()).await?;
            return known.map(CampaignRow::into_campaign).ok_or_else(|| internal("a lost request"));
        }
        let change = Change::to(audited::campaign(&row.document));
        self.record(&tx, caller, acts::CAMPAIGN_CREATED, row.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(row.into_campaign())
    }

    /// The campaign with the saved texts that it names; or every wrong field at once, the
    /// audience's among them.
    pub(crate) async fn checked_campaign(
        &self,
        organisation: OrganisationId,
        mut document: Campaign,
    ) -> Result<Campaign, Status> {
        let mut errors = campaign::check(&document);
        let given = document.content.take().unwrap_or_default();
        match self.pinned(organisation, given).await? {
            Ok(content) => {
                content::check(&content, &mut errors);
                document.content = Some(content);
            }
            Err(error) => errors.push(error),
        }
        let wrong_audience = errors.iter().any(|error| error.field.starts_with("audience"));
        if let (Some(audience), false) = (&document.audience, wrong_audience) {
            match self.audience.check(organisation, audience).await {
                Ok(()) => {}
                Err(CheckError::Fields(found)) => errors.extend(found),
                Err(CheckError::Status(status)) if errors.is_empty() => return Err(status),
                Err(CheckError::Status(_)) => {}
            }
        }
        if errors.is_empty() { Ok(document) } else { Err(invalid_fields(errors)) }
    }
}

/// The campaign that the same request created before.
pub(crate) async fn repeated(
    connection: &impl Sql,
    organisation: OrganisationId,
    request: Option<&Request>,
) -> Result<Option<CampaignRow>, Status> {
    let Some(request) = request else { return Ok(None) };
    let known = store::campaign_by_request(connection, organisation, &request.id).await;
    let Some((row, hash)) = known.map_err(internal)? else { return Ok(None) };
    request.check_same(&hash, &format!("campaign {}", row.id))?;
    Ok(Some(row))
}
