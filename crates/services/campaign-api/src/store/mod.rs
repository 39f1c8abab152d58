//! Every statement about organisations, campaigns and templates; the report's are in `report/store/`.

mod alerts;
mod campaigns;
mod keys;
mod migration;
mod organisations;
mod templates;

pub(crate) use alerts::{add_alert, alerts};
pub(crate) use campaigns::{
    CampaignRow, Saved, campaign, campaign_by_request, campaigns, change_state,
    halted_of_all_organisations, insert_campaign, locked_campaign, save_campaign,
};
pub(crate) use keys::{KeyRow, insert_key, key, key_hashes, keys, revoke_key};
pub use migration::Migrator;
pub(crate) use organisations::{
    OrganisationRow, all_organisations_after, drop_secret, insert_organisation,
    locked_organisation, organisation, organisation_by_request_of_platform, save_secret,
    save_settings, secrets, set_told,
};
pub(crate) use templates::{
    TemplateRow, delete_template, insert_template, locked_template, save_version, template,
    template_by_request, template_version, template_versions, templates,
};
