//! Copy a campaign: a draft like it, switched off.

use carillon_contracts::campaign::v1::{Campaign, CopyCampaignRequest};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi, create_campaign::repeated, domain::named_after, grpc::find_campaign,
    request::Request, store::CampaignRow,
};

impl CampaignApi {
    /// What was good when it was stored is not checked again: switching the copy on does that.
    pub(crate) async fn copy_campaign(
        &self,
        caller: &Caller,
        request: CopyCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        let body = CopyCampaignRequest { request_id: String::new(), ..request.clone() };
        let CopyCampaignRequest { id, request_id } = request;
        let request = Request::new(request_id, &body)?;
        let reader = self.database.reader();
        if let Some(known) = repeated(reader, organisation, request.as_ref()).await? {
            return Ok(known.into_campaign());
        }
        let copied = find_campaign(reader, organisation, "id", &id).await?.document;
        let document = Campaign {
            name: named_after("Copy of", &copied.name),
            active: false,
            test_of: String::new(),
            test: false,
            ..copied
        };
        let draft = CampaignRow::draft(document, self.clock.now_ms());
        self.insert_draft(caller, draft, request.as_ref()).await
    }
}
