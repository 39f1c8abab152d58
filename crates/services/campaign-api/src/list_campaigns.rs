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
use sea_orm::DbErr;
use tonic::Status;

use crate::{
    CampaignApi,
    store::{self, CampaignRow},
};

/// A page ends early rather than outgrow the 4 MiB that a gRPC client takes.
const MOST_BYTES: usize = 3 * 1024 * 1024;
/// Campaigns read at a time, for one may hold most of a megabyte.
const CHUNK: i64 = 20;

/// A place in the list: when a campaign was created, in milliseconds, and its id.
type Place = (i64, CampaignId);

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
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (rows, more) = self.page(organisation, after, size).await.map_err(internal)?;
        let next_page_token = rows
            .last()
            .filter(|_| more)
            .map_or_else(String::new, |row| format!("{}.{}", row.created_ms, row.id));
        let campaigns = rows.into_iter().map(CampaignRow::into_campaign).collect();
        Ok(ListCampaignsResponse { campaigns, next_page_token })
    }

    /// The rows of a page, one at least if there is one, and whether more follow.
    async fn page(
        &self,
        organisation: OrganisationId,
        mut after: Option<Place>,
        size: usize,
    ) -> Result<(Vec<CampaignRow>, bool), DbErr> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            let reader = self.database.reader();
            let read = store::campaigns(reader, organisation, after, CHUNK).await?;
            let Some(last) = read.last() else { return Ok((rows, false)) };
            after = Some((last.created_ms, last.id));
            for row in read {
                bytes += row.document.encoded_len();
                if rows.len() == size || (bytes > MOST_BYTES && !rows.is_empty()) {
                    return Ok((rows, true));
                }
                rows.push(row);
            }
        }
    }
}

fn parse_token(token: &str) -> Option<Place> {
    let (created, id) = token.split_once('.')?;
    Some((created.parse().ok()?, id.parse().ok()?))
}
