//! List campaigns, newest first, page by page.

use carillon_contracts::{
    campaign::v1::{ListCampaignsRequest, ListCampaignsResponse},
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::{
    page,
    status::{internal, invalid},
};
use prost::Message as _;
use tonic::Status;

use crate::{CampaignApi, store};

/// A page ends early rather than outgrow the 4 MiB that a gRPC client takes.
const MOST_BYTES: usize = 3 * 1024 * 1024;

impl CampaignApi {
    pub(crate) async fn list_campaigns(
        &self,
        organisation: OrganisationId,
        request: ListCampaignsRequest,
    ) -> Result<ListCampaignsResponse, Status> {
        let size = page::size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(parse_token(token).ok_or_else(|| {
                invalid("page_token", "is not one that this method gave; start without it")
            })?),
        };
        let mut rows = store::campaigns(self.database.reader(), organisation, after, size + 1)
            .await
            .map_err(internal)?;
        let mut more = page::cut(&mut rows, size);
        let mut bytes = 0;
        let fitting = rows.iter().take_while(|row| {
            let first = bytes == 0;
            bytes += row.document.encoded_len();
            first || bytes <= MOST_BYTES
        });
        let fitting = fitting.count();
        more |= fitting < rows.len();
        rows.truncate(fitting);
        let next_page_token = rows
            .last()
            .filter(|_| more)
            .map_or_else(String::new, |row| format!("{}.{}", row.created_ms, row.id));
        let campaigns = rows.into_iter().map(store::CampaignRow::into_campaign).collect();
        Ok(ListCampaignsResponse { campaigns, next_page_token })
    }
}

/// A place in the list: when a campaign was created, in milliseconds, and its id.
fn parse_token(token: &str) -> Option<(i64, CampaignId)> {
    let (created, id) = token.split_once('.')?;
    Some((created.parse().ok()?, id.parse().ok()?))
}
