//! Where an organisation's SMS provider is to send what customers reply.

use carillon_contracts::{
    campaign::v1::{Organisation, sms_gateway::Kind},
    ids::OrganisationId,
};

use crate::CampaignApi;

impl CampaignApi {
    /// The organisation as its own key sees it: with the address, which nobody else is told of.
    pub(crate) fn shown(&self, organisation: OrganisationId, stored: Organisation) -> Organisation {
        let kind = match stored.sms.as_ref().and_then(|sms| sms.kind.as_ref()) {
            Some(Kind::Twilio(_)) => "twilio",
            Some(Kind::Http(_)) => "http",
            _ => return stored,
        };
        let replies_url = self.reply_links.url(kind, organisation.uuid());
        Organisation { replies_url, ..stored }
    }
}
