//! Find saved texts by id or name, in the newest version or another.

use carillon_contracts::{
    campaign::v1::{GetTemplateRequest, Template},
    ids::OrganisationId,
};
use carillon_service_kit::{
    database::Sql,
    status::{internal, invalid, not_found},
};
use tonic::Status;

use crate::{
    CampaignApi,
    domain::template::Which,
    store::{self, TemplateRow},
};

impl CampaignApi {
    pub(crate) async fn get_template(
        &self,
        organisation: OrganisationId,
        request: GetTemplateRequest,
    ) -> Result<Template, Status> {
        let GetTemplateRequest { template, version } = request;
        let newest = find_template(self.database.reader(), organisation, &template).await?;
        let newest_version = newest.version;
        let row = self.template_in_version(organisation, newest, version).await?;
        row.map(TemplateRow::into_template).ok_or_else(|| {
            not_found(format!("version: {}", no_version(&template, version, newest_version)))
        })
    }

    /// The template in a version, 0 being the newest; `None` if it never had it.
    pub(crate) async fn template_in_version(
        &self,
        organisation: OrganisationId,
        newest: TemplateRow,
        version: u64,
    ) -> Result<Option<TemplateRow>, Status> {
        if version == 0 || version == newest.version {
            return Ok(Some(newest));
        }
        let reader = self.database.reader();
        let row = store::template_version(reader, organisation, newest.id, version).await;
        row.map_err(internal)
    }
}

/// The caller's template in its newest version; another's does not exist for them.
pub(crate) async fn find_template(
    connection: &impl Sql,
    organisation: OrganisationId,
    named: &str,
) -> Result<TemplateRow, Status> {
    if named.is_empty() {
        return Err(invalid("template", "is missing; give a template's id or name"));
    }
    let row = look_up(connection, organisation, named).await?;
    row.ok_or_else(|| no_template(named))
}

pub(crate) async fn look_up(
    connection: &impl Sql,
    organisation: OrganisationId,
    named: &str,
) -> Result<Option<TemplateRow>, Status> {
    // PostgreSQL refuses to look for NUL, which no name holds.
    if named.contains('\0') {
        return Ok(None);
    }
    let which = Which::of(named);
    store::template(connection, organisation, &which).await.map_err(internal)
}

pub(crate) fn no_template(named: &str) -> Status {
    not_found(format!("template: {}", unknown(named)))
}

pub(crate) fn unknown(named: &str) -> String {
    let shown: String = named.chars().take(64).collect();
    format!("there is no template '{shown}'; `carillon template list` shows those there are")
}

pub(crate) fn no_version(named: &str, version: u64, newest: u64) -> String {
    let shown: String = named.chars().take(64).collect();
    format!("{version} is no version of '{shown}', which has 1 to {newest}; give one of those")
}
