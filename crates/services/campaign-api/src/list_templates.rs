//! List saved texts, and the versions of one, page by page.

use carillon_contracts::{
    campaign::v1::{
        ListTemplateVersionsRequest, ListTemplateVersionsResponse, ListTemplatesRequest,
        ListTemplatesResponse,
    },
    ids::{OrganisationId, TemplateId},
};
use carillon_service_kit::{page, status::internal};
use prost::Message as _;
use tonic::Status;

use crate::{
    CampaignApi,
    get_template::find_template,
    pages::{CHUNK, Page},
    store::{self, TemplateRow},
};

impl CampaignApi {
    pub(crate) async fn list_templates(
        &self,
        organisation: OrganisationId,
        request: ListTemplatesRequest,
    ) -> Result<ListTemplatesResponse, Status> {
        let mut page = Page::of_size(request.page_size)?;
        let mut after =
            page::place(&request.page_token, None, |token| parse_place(token).map(Some))?;
        let more = loop {
            let reader = self.database.reader();
            let read = store::templates(reader, organisation, after, CHUNK).await;
            let read = read.map_err(internal)?;
            let Some(last) = read.last() else { break false };
            after = Some((last.created_ms, last.id));
            if !fits(&mut page, read) {
                break true;
            }
        };
        let last = page.rows.last().filter(|_| more);
        let next_page_token =
            last.map_or_else(String::new, |row| format!("{}.{}", row.created_ms, row.id));
        let templates = page.rows.into_iter().map(TemplateRow::into_template).collect();
        Ok(ListTemplatesResponse { templates, next_page_token })
    }

    pub(crate) async fn list_template_versions(
        &self,
        organisation: OrganisationId,
        request: ListTemplateVersionsRequest,
    ) -> Result<ListTemplateVersionsResponse, Status> {
        let mut page = Page::of_size(request.page_size)?;
        let mut before =
            page::place(&request.page_token, None, |token| token.parse().ok().map(Some))?;
        let reader = self.database.reader();
        let id = find_template(reader, organisation, &request.template).await?.id;
        let more = loop {
            let read = store::template_versions(reader, organisation, id, before, CHUNK).await;
            let read = read.map_err(internal)?;
            let Some(last) = read.last() else { break false };
            before = Some(last.version.cast_signed());
            if !fits(&mut page, read) {
                break true;
            }
        };
        let last = page.rows.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |row| row.version.to_string());
        let versions = page.rows.into_iter().map(TemplateRow::into_template).collect();
        Ok(ListTemplateVersionsResponse { versions, next_page_token })
    }
}

/// Whether all of them did.
fn fits(page: &mut Page<TemplateRow>, read: Vec<TemplateRow>) -> bool {
    read.into_iter().all(|row| {
        let bytes = row.content.encoded_len();
        page.takes(row, bytes)
    })
}

fn parse_place(token: &str) -> Option<(i64, TemplateId)> {
    let (created, id) = token.split_once('.')?;
    Some((created.parse().ok()?, id.parse().ok()?))
}
