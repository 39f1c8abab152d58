//! List holds: what is kept back for batches under way, and what each batch has cost.

use carillon_contracts::{
    billing::v1::{BatchHold, ListHoldsRequest, ListHoldsResponse},
    ids::OrganisationId,
};
use carillon_service_kit::{page, status::internal};
use tonic::Status;
use uuid::Uuid;

use crate::{
    Billing,
    domain::hold::Split,
    grpc::optional_id,
    store::{self, ListedHold, Listing},
};

impl Billing {
    pub(crate) async fn list_holds(
        &self,
        organisation: OrganisationId,
        request: ListHoldsRequest,
    ) -> Result<ListHoldsResponse, Status> {
        let ListHoldsRequest { page_size, page_token, campaign_id, include_closed, batch_id } =
            request;
        let size = page::size(page_size)?;
        let after = page::place(&page_token, Uuid::nil(), |token| token.parse().ok())?;
        let campaign = optional_id("campaign_id", &campaign_id)?;
        let batch = optional_id("batch_id", &batch_id)?;
        let listing = Listing { campaign, batch, include_closed, after, limit: size + 1 };
        let mut rows =
            store::holds(self.database.reader(), organisation, listing).await.map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let last = rows.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |row| row.batch.to_string());
        Ok(ListHoldsResponse { holds: rows.into_iter().map(listed).collect(), next_page_token })
    }
}

fn listed(ListedHold { batch, campaign, run, row }: ListedHold) -> BatchHold {
    let Split { held, spent } = row.split();
    BatchHold {
        batch_id: batch.to_string(),
        campaign_id: campaign.map(|id| id.to_string()).unwrap_or_default(),
        run_id: run.map(|id| id.to_string()).unwrap_or_default(),
        wanted: row.wanted,
        granted: row.granted,
        held,
        spent,
        short: row.short(),
        closed: row.closed,
    }
}
