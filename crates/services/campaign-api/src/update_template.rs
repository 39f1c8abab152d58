//! Save texts once more, as a new version, or delete them.

use carillon_audit::{Change, acts};
use carillon_contracts::{
    campaign::v1::{DeleteTemplateRequest, Template, UpdateTemplateRequest},
    ids::OrganisationId,
};
use carillon_service_kit::status::{internal, invalid_fields, refused};
use carillon_tenancy::Caller;
use sea_orm::DatabaseTransaction;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::{audited, content, template},
    get_template::{find_template, no_template},
    store::{self, TemplateRow},
};

impl CampaignApi {
    pub(crate) async fn update_template(
        &self,
        caller: &Caller,
        request: UpdateTemplateRequest,
    ) -> Result<Template, Status> {
        let organisation = caller.organisation;
        let UpdateTemplateRequest { template: named, content, expected_version } = request;
        let content = content::used(content.unwrap_or_default());
        let mut errors = Vec::new();
        template::check_content(&content, &mut errors);
        if !errors.is_empty() {
            return Err(invalid_fields(errors));
        }
        let tx = self.database.begin().await.map_err(internal)?;
        let current = locked(&tx, organisation, &named).await?;
        if current.deleted_ms.is_some() {
            return Err(deleted(&current));
        }
        if expected_version != 0 && expected_version != current.version {
            return Err(saved_meanwhile(&current, expected_version));
        }
        if current.content == content {
            return Ok(current.into_template());
        }
        let version = current.version + 1;
        let before = audited::template(&current.name, current.version, &current.content);
        let row = TemplateRow { content, version, saved_ms: self.clock.now_ms(), ..current };
        store::save_version(&tx, organisation, &row).await.map_err(internal)?;
        let change =
            Change::between(before, audited::template(&row.name, row.version, &row.content));
        self.record(&tx, caller, acts::TEMPLATE_UPDATED, row.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(row.into_template())
    }

    pub(crate) async fn delete_template(
        &self,
        caller: &Caller,
        request: DeleteTemplateRequest,
    ) -> Result<Template, Status> {
        let organisation = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let current = locked(&tx, organisation, &request.template).await?;
        if current.deleted_ms.is_some() {
            return Ok(current.into_template());
        }
        let now_ms = self.clock.now_ms();
        store::delete_template(&tx, organisation, current.id, now_ms).await.map_err(internal)?;
        let before = audited::template(&current.name, current.version, &current.content);
        let change = Change::from(before);
        self.record(&tx, caller, acts::TEMPLATE_DELETED, current.subject(), change)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(TemplateRow { deleted_ms: Some(now_ms), ..current }.into_template())
    }
}

async fn locked(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    named: &str,
) -> Result<TemplateRow, Status> {
    let seen = find_template(tx, organisation, named).await?;
    let row = store::locked_template(tx, organisation, seen.id).await.map_err(internal)?;
    row.ok_or_else(|| no_template(named))
}

pub(crate) fn deleted(row: &TemplateRow) -> Status {
    refused(
        "TEMPLATE_DELETED",
        format!(
            "template: '{}' was deleted, and can only be read; create another one under that name",
            row.name
        ),
    )
}

fn saved_meanwhile(row: &TemplateRow, expected: u64) -> Status {
    Status::aborted(format!(
        "expected_version: {expected} is not the newest of '{}', which is {}; read that and try again",
        row.name, row.version
    ))
}
