//! Where an organisation's SMS provider is to send what customers reply.

use carillon_contracts::{
    campaign::v1::{Organisation, SmsGateway, sms_gateway::Kind},
    ids::OrganisationId,
};

use crate::CampaignApi;

impl CampaignApi {
    /// The organisation as its own key sees it: with the address, which nobody else is told of.
    pub(crate) fn shown(&self, organisation: OrganisationId, stored: Organisation) -> Organisation {
        let url = |sms: &Option<SmsGateway>| {
            let kind = match sms.as_ref().and_then(|sms| sms.kind.as_ref()) {
                Some(Kind::Twilio(_)) => "twilio",
                Some(Kind::Http(_)) => "http",
                _ => return String::new(),
            };
            self.reply_links.url(kind, organisation.uuid())
        };
        let (replies_url, standby_replies_url) = (url(&stored.sms), url(&stored.sms_standby));
        Organisation { replies_url, standby_replies_url, ..stored }
    }
}
