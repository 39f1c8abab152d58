//! List campaigns, newest first, page by page.

use carillon_contracts::{
    campaign::v1::{ListCampaignsRequest, ListCampaignsResponse},
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::{page, status::internal};
use prost::Message as _;
use sea_orm::DbErr;
use tonic::Status;

use crate::{
    CampaignApi,
    pages::{CHUNK, Page},
    store::{self, CampaignRow},
};

/// A place in the list: when a campaign was created, in milliseconds, and its id.
type Place = (i64, CampaignId);

impl CampaignApi {
    pub(crate) async fn list_campaigns(
        &self,
        organisation: OrganisationId,
        request: ListCampaignsRequest,
    ) -> Result<ListCampaignsResponse, Status> {
        let page = Page::of_size(request.page_size)?;
        let after = page::place(&request.page_token, None, |token| parse_token(token).map(Some))?;
        let archived = request.show_archived;
        let (rows, more) =
            self.page(organisation, after, archived, page).await.map_err(internal)?;
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
        archived: bool,
        mut page: Page<CampaignRow>,
    ) -> Result<(Vec<CampaignRow>, bool), DbErr> {
        loop {
            let reader = self.database.reader();
            let read = store::campaigns(reader, organisation, after, archived, CHUNK).await?;
            let Some(last) = read.last() else { return Ok((page.rows, false)) };
            after = Some((last.created_ms, last.id));
            for row in read {
                let bytes = row.document.encoded_len();
                if !page.takes(row, bytes) {
                    return Ok((page.rows, true));
                }
            }
        }
    }
}

fn parse_token(token: &str) -> Option<Place> {
    let (created, id) = token.split_once('.')?;
    Some((created.parse().ok()?, id.parse().ok()?))
}
