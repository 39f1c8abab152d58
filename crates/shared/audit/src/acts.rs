//! The words for what was done.

pub const ORGANISATION_CREATED: &str = "organisation.created";
pub const ORGANISATION_UPDATED: &str = "organisation.updated";
pub const SMTP_SERVER_SET: &str = "organisation.smtp_server_set";
pub const SMS_GATEWAY_SET: &str = "organisation.sms_gateway_set";

pub const KEY_CREATED: &str = "key.created";
pub const KEY_ROTATED: &str = "key.rotated";
pub const KEY_REVOKED: &str = "key.revoked";

pub const CAMPAIGN_CREATED: &str = "campaign.created";
pub const CAMPAIGN_UPDATED: &str = "campaign.updated";
pub const CAMPAIGN_STARTED: &str = "campaign.started";
pub const CAMPAIGN_PAUSED: &str = "campaign.paused";
pub const CAMPAIGN_RESUMED: &str = "campaign.resumed";
pub const CAMPAIGN_CANCELLED: &str = "campaign.cancelled";
pub const CAMPAIGN_ARCHIVED: &str = "campaign.archived";
pub const CAMPAIGN_TESTED: &str = "campaign.tested";

pub const TEMPLATE_CREATED: &str = "template.created";
pub const TEMPLATE_UPDATED: &str = "template.updated";
pub const TEMPLATE_DELETED: &str = "template.deleted";

pub const BALANCE_CREDITED: &str = "balance.credited";

pub const CUSTOMER_CREATED: &str = "customer.created";
pub const CUSTOMER_UPDATED: &str = "customer.updated";
pub const CUSTOMER_BLACKLISTED: &str = "customer.blacklisted";
pub const CUSTOMER_UNBLACKLISTED: &str = "customer.unblacklisted";
pub const CUSTOMER_SUBSCRIBED: &str = "customer.subscribed";
pub const CUSTOMER_UNSUBSCRIBED: &str = "customer.unsubscribed";
pub const CUSTOMER_CONFIRMED: &str = "customer.confirmed";
pub const CUSTOMERS_IMPORTED: &str = "customers.imported";
pub const ACTIVITIES_IMPORTED: &str = "activities.imported";

/// Written down before the service is asked, so that nothing is done that is not in the log; one that
/// it then refuses is followed by the entry that says so.
pub const PARKED_REPLAYED: &str = "parked.replayed";
pub const PARKED_DISCARDED: &str = "parked.discarded";
pub const PARKED_REFUSED: &str = "parked.refused";
