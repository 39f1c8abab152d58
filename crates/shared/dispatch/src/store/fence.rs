//! What a claim asks first: whether its worker still lives. From then on until the transaction ends
//! nobody declares it dead, and no campaign of the claim is halted or resumed: neither would see
//! rows that are not there yet.

use std::collections::BTreeSet;

use carillon_contracts::ids::CampaignId;
use carillon_service_kit::database::{Sql as _, differs, list};
use sea_orm::{DatabaseTransaction, DbErr};

use super::StepError;

/// Campaigns come before batches, in one order. Advisory locks queue, so that many claims, one
/// after the other, do not keep a halt waiting, as they would by sharing its row. A halt is read
/// after this, by a statement of its own: this one sees what was there before it waited.
pub(super) async fn fence(
    tx: &DatabaseTransaction,
    epoch: i64,
    campaigns: &BTreeSet<CampaignId>,
) -> Result<(), StepError> {
    let sql = differs(
        "SELECT 1 FROM workers WHERE epoch = $1 AND NOT dead AND $2 = $2",
        "WITH turns AS MATERIALIZED (
             SELECT COUNT(pg_advisory_xact_lock_shared(turn)) FROM (
                 SELECT value::bigint AS turn
                 FROM jsonb_array_elements_text($2::jsonb) AS given(value) ORDER BY 1
             ) AS ordered
         )
         SELECT 1 FROM workers, turns WHERE epoch = $1 AND NOT dead FOR SHARE OF workers",
    );
    let turns: BTreeSet<i64> = campaigns.iter().map(turn).collect();
    match tx.row(sql, [epoch.into(), list::numbers(turns).into()]).await? {
        Some(_) => Ok(()),
        None => Err(StepError::Fenced),
    }
}

/// Waits for claims that do not know of a change to the campaign's halt.
pub(super) async fn alone(tx: &DatabaseTransaction, campaign: CampaignId) -> Result<(), DbErr> {
    let sql = differs("SELECT $1", "SELECT pg_advisory_xact_lock($1)");
    tx.row(sql, [turn(&campaign).into()]).await.map(|_| ())
}

/// Campaigns whose numbers meet only wait for each other needlessly.
fn turn(campaign: &CampaignId) -> i64 {
    let (high, low) = campaign.uuid().as_u64_pair();
    (high.rotate_left(17) ^ low).cast_signed()
}
