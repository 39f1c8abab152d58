//! Send a campaign to one customer, now, whatever state it is in. The test is a campaign of its own:
//! recorded, paid for and reported like any other, and once however often it is asked for.

use carillon_audit::{Change, acts, fields};
use carillon_contracts::campaign::v1::{
    Audience, Campaign, CustomerList, Schedule, TestCampaignRequest, audience::Selection,
    schedule::When,
};
use carillon_service_kit::status::{internal, invalid};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    create_campaign::repeated,
    domain::named_after,
    grpc::find_campaign,
    request::Request,
    store::{self, CampaignRow},
};

impl CampaignApi {
    pub(crate) async fn test_campaign(
        &self,
        caller: &Caller,
        request: TestCampaignRequest,
    ) -> Result<Campaign, Status> {
        let organisation = caller.organisation;
        if request.customer.is_empty() {
            return Err(invalid("customer", "is missing; give a customer's external id"));
        }
        let body = TestCampaignRequest { request_id: String::new(), ..request.clone() };
        let TestCampaignRequest { id, customer, request_id } = request;
        let request = Request::new(request_id, &body)?;
        let reader = self.database.reader();
        if let Some(known) = repeated(reader, organisation, request.as_ref()).await? {
            return Ok(known.into_campaign());
        }
        let tested = find_campaign(reader, organisation, "id", &id).await?;
        // Nobody has a customer whom nobody knows: said here rather than in an empty report.
        let content = tested.document.content.clone();
        self.audience.preview(organisation, customer.clone(), content).await?;
        let (subject, tested_with) = (tested.subject(), customer.clone());
        let mut document = self.checked_campaign(organisation, test_of(tested, customer)).await?;
        document.test = caller.key.test;
        let now = self.clock.now();
        let draft = CampaignRow::draft(document, now.as_millisecond());
        let tx = self.database.begin().await.map_err(internal)?;
        let stored = store::insert_campaign(&tx, organisation, &draft, request.as_ref());
        if !stored.await.map_err(internal)? {
            let known = repeated(&tx, organisation, request.as_ref()).await?;
            return known.map(CampaignRow::into_campaign).ok_or_else(|| internal("a lost request"));
        }
        let change = Change::to(fields([
            ("customer", tested_with.into()),
            ("campaign", draft.id.to_string().into()),
        ]));
        self.record(&tx, caller, acts::CAMPAIGN_TESTED, subject, change).await.map_err(internal)?;
        self.launch(tx, organisation, draft, now).await
    }
}

fn test_of(tested: CampaignRow, customer: String) -> Campaign {
    let customers = CustomerList { external_ids: vec![customer] };
    Campaign {
        name: named_after("Test of", &tested.document.name),
        active: true,
        audience: Some(Audience { selection: Some(Selection::Customers(customers)) }),
        schedule: Some(Schedule { when: Some(When::Now(true)) }),
        pending_period: tested.document.pending_period,
        content: tested.document.content,
        test_of: tested.id.to_string(),
        ..Campaign::default()
    }
}
