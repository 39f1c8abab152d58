//! Campaigns that somebody paused, resumed or cancelled.

use carillon_contracts::{
    events::v1::Halt,
    ids::{CampaignId, OrganisationId},
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

/// Keeps what is newer than what is known.
pub(crate) async fn keep_halt(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    halt: Halt,
    version: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO halts (organisation_id, campaign_id, halt, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (organisation_id, campaign_id) DO UPDATE SET
            halt = excluded.halt, version = excluded.version
         WHERE halts.version < excluded.version",
        [
            organisation.uuid().into(),
            campaign.uuid().into(),
            i64::from(i32::from(halt)).into(),
            version.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Halt 3 is `HALT_CANCELLED`.
pub(crate) async fn campaign_is_cancelled(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign: Uuid,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM halts WHERE organisation_id = $1 AND campaign_id = $2 AND halt = 3";
    let row = connection.row(sql, [organisation.uuid().into(), campaign.into()]).await?;
    Ok(row.is_some())
}
