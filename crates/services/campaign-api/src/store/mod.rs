//! Every statement about organisations and campaigns; the report's are in `report/store/`.

mod campaigns;
mod migration;
mod organisations;

pub(crate) use campaigns::{
    CampaignRow, Saved, campaign, campaign_by_request, campaigns, change_draft, finish_running,
    insert_campaign, start_draft,
};
pub use migration::Migrator;
pub(crate) use organisations::{
    OrganisationRow, insert_key, insert_organisation, key_hashes, organisation,
    organisation_by_request_of_platform, save_settings, set_told,
};
