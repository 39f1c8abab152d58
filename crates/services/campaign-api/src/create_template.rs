//! Save texts under a name: the first version.

use carillon_audit::{Change, acts};
use carillon_contracts::{
    campaign::v1::{CreateTemplateRequest, Template},
    ids::{OrganisationId, TemplateId},
};
use carillon_service_kit::{
    database::Sql,
    status::{already_exists, internal, invalid, invalid_fields},
};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{audited, content, template},
    request::Request,
    store::{self, TemplateRow},
};

impl CampaignApi {
    pub(crate) async fn create_template(
        &self,
        caller: &Caller,
        request: CreateTemplateRequest,
    ) -> Result<Template, Status> {
        let organisation = caller.organisation;
        let CreateTemplateRequest { template: given, request_id } = request;
        let given =
            given.ok_or_else(|| invalid("template", "is missing; give name and content"))?;
        let content = content::used(given.content.unwrap_or_default());
        let body =
            Template { name: given.name, content: Some(content.clone()), ..Template::default() };
        let request = Request::new(request_id, &body)?;
        let reader = self.database.reader();
        if let Some(known) = repeated(reader, organisation, request.as_ref()).await? {
            return Ok(known.into_template());
        }
        let errors = template::check(&body.name, &content);
        if !errors.is_empty() {
            return Err(invalid_fields(errors));
        }
        let now_ms = self.clock.now_ms();
        let row = TemplateRow {
            id: TemplateId::random(),
            name: body.name,
            version: 1,
            content,
            created_ms: now_ms,
            saved_ms: now_ms,
            deleted_ms: None,
        };
        let tx = self.database.begin().await.map_err(internal)?;
        let stored = store::insert_template(&tx, organisation, &row, request.as_ref());
        if !stored.await.map_err(internal)? {
            let known = repeated(&tx, organisation, request.as_ref()).await?;
            return known.map(TemplateRow::into_template).ok_or_else(|| taken(&row.name));
        }
        let change = Change::to(audited::template(&row.name, row.version, &row.content));
        self.record(&tx, caller, acts::TEMPLATE_CREATED, row.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(row.into_template())
    }
}

fn taken(name: &str) -> Status {
    already_exists(
        "TEMPLATE_EXISTS",
        format!(
            "name: there is a template '{name}' already; save another version of it, or choose \
             another name"
        ),
    )
}

/// The template that the same request created before, as it was then.
async fn repeated(
    connection: &impl Sql,
    organisation: OrganisationId,
    request: Option<&Request>,
) -> Result<Option<TemplateRow>, Status> {
    let Some(request) = request else { return Ok(None) };
    let known = store::template_by_request(connection, organisation, &request.id).await;
    let Some((row, hash)) = known.map_err(internal)? else { return Ok(None) };
    request.check_same(&hash, &format!("template '{}'", row.name))?;
    Ok(Some(row))
}
