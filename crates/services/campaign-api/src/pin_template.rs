//! A campaign that names saved texts gets a copy of them, and keeps the version they are of: whatever
//! is saved later changes no campaign.

use carillon_contracts::{
    ids::OrganisationId,
    jobs::v1::{Content, TemplateVersion},
};
use carillon_service_kit::status::FieldError;
use tonic::Status;

use crate::{
    CampaignApi,
    domain::content::has_text,
    get_template::{look_up, no_version, unknown},
    store::TemplateRow,
};

impl CampaignApi {
    /// The content with the texts that it names; inside, what is wrong with the name.
    pub(crate) async fn pinned(
        &self,
        organisation: OrganisationId,
        given: Content,
    ) -> Result<Result<Content, FieldError>, Status> {
        let Some(TemplateVersion { template: named, version, .. }) = &given.template else {
            return Ok(Ok(given));
        };
        let wrong = |rule: String| Ok(Err(FieldError::new("content.template", rule)));
        if named.is_empty() {
            return wrong("names no template; give its name or its id".into());
        }
        let Some(newest) = look_up(self.database.reader(), organisation, named).await? else {
            return wrong(unknown(named));
        };
        let (newest_version, deleted) = (newest.version, newest.deleted_ms.is_some());
        let Some(row) = self.template_in_version(organisation, newest, *version).await? else {
            return wrong(no_version(named, *version, newest_version));
        };
        if has_text(&given) {
            let same = (&given.sms, &given.email) == (&row.content.sms, &row.content.email);
            if !same {
                return wrong(format!(
                    "stands beside other texts than those of version {} of '{}'; leave out the \
                     one or the other",
                    row.version, row.name
                ));
            }
        } else if deleted {
            return wrong(format!("'{}' was deleted; name another template", row.name));
        }
        Ok(Ok(copied(row)))
    }
}

fn copied(row: TemplateRow) -> Content {
    let TemplateRow { id, version, name, content, .. } = row;
    Content {
        template: Some(TemplateVersion { template: id.to_string(), version, name }),
        ..content
    }
}
