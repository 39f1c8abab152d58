//! The current documents of this service's projections, for a subscriber that knows none: every
//! organisation, and every campaign that is paused or cancelled.

use async_trait::async_trait;
use carillon_contracts::{
    campaign::v1::CampaignState,
    events::v1::{CampaignHalted, Halt, event::Body},
};
use carillon_outbox::Documents;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{CampaignApi, store};

/// A document is a few kilobytes at most.
const AT_ONCE: i64 = 200;

pub(crate) struct Organisations(pub CampaignApi);

#[async_trait]
impl Documents for Organisations {
    async fn append_after(
        &self,
        tx: &DatabaseTransaction,
        after: &str,
    ) -> Result<Option<String>, DbErr> {
        let rows = store::all_organisations_after(tx, place(after)?, AT_ONCE).await?;
        for row in &rows {
            let document = self.0.document(tx, row).await?;
            self.0.outbox.append(tx, row.id, Body::OrganisationChanged(document)).await?;
        }
        Ok(rows.last().map(|row| row.id.to_string()))
    }
}

pub(crate) struct Halts(pub CampaignApi);

#[async_trait]
impl Documents for Halts {
    async fn append_after(
        &self,
        tx: &DatabaseTransaction,
        after: &str,
    ) -> Result<Option<String>, DbErr> {
        let rows = store::halted_of_all_organisations(tx, place(after)?, AT_ONCE).await?;
        for (organisation, row) in &rows {
            let halt = match row.state {
                CampaignState::Cancelled => Halt::Cancelled,
                _ => Halt::Paused,
            };
            let halted = CampaignHalted {
                campaign_id: row.id.to_wire(),
                halt: halt.into(),
                version: row.version,
            };
            self.0.outbox.append(tx, *organisation, Body::CampaignHalted(halted)).await?;
        }
        Ok(rows.last().map(|(_, row)| row.id.to_string()))
    }
}

/// The first place is before every id.
fn place(after: &str) -> Result<Uuid, DbErr> {
    if after.is_empty() {
        return Ok(Uuid::nil());
    }
    after.parse().map_err(|error| DbErr::Type(format!("documents_after '{after}': {error}")))
}
