//! What a claim asks first: whether its worker still lives, and which campaigns are halted.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{events::v1::Halt, ids::CampaignId};
use carillon_service_kit::database::{Sql as _, differs};
use sea_orm::DatabaseTransaction;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{StepError, halts};

/// Keeps the epoch alive and the halts as they are until the transaction ends: nobody takes over
/// or resumes meanwhile and misses rows that are not there yet. Halts come before batches, as they
/// do where a halt is kept.
pub(super) async fn fence(
    tx: &DatabaseTransaction,
    epoch: i64,
    campaigns: &BTreeSet<CampaignId>,
) -> Result<BTreeMap<CampaignId, Halt>, StepError> {
    let ids = campaigns.iter().map(|id| Json::String(id.uuid().simple().to_string()));
    let sql = differs(
        "SELECT h.campaign_id, h.halt FROM workers w
         LEFT JOIN halts h ON h.campaign_id IN (SELECT unhex(value) FROM json_each($2))
         WHERE w.epoch = $1 AND NOT w.dead",
        "WITH w AS MATERIALIZED (
             SELECT 1 FROM workers WHERE epoch = $1 AND NOT dead FOR SHARE
         ), h AS MATERIALIZED (
             SELECT campaign_id, halt FROM halts
             WHERE campaign_id = ANY(ARRAY(
                 SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb) AS given(value)))
             ORDER BY campaign_id FOR SHARE
         )
         SELECT h.campaign_id, h.halt FROM w LEFT JOIN h ON TRUE",
    );
    let rows = tx.rows(sql, [epoch.into(), Json::Array(ids.collect()).to_string().into()]).await?;
    if rows.is_empty() {
        return Err(StepError::Fenced);
    }
    let mut halted = BTreeMap::new();
    for row in rows {
        let (campaign, halt): (Option<Uuid>, Option<String>) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if let (Some(campaign), Some(halt)) = (campaign, halt) {
            halted.insert(CampaignId::new(campaign), halts::of_word(&halt));
        }
    }
    Ok(halted)
}
