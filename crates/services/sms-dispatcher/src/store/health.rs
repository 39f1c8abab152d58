//! Gateways that are down.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::{Database, database::Sql as _};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::domain::health::Down;

pub(crate) struct GatewayDown {
    pub organisation: OrganisationId,
    pub name: String,
    pub down: Down,
}

pub(crate) async fn gateways_down_of_all_organisations(
    database: &Database,
) -> Result<Vec<GatewayDown>, DbErr> {
    let sql = "SELECT organisation_id, account, since_at, probe_at, probes FROM gateways_down";
    let rows = database.reader().rows(sql, []).await?;
    rows.iter()
        .map(|row| {
            let probes: i64 = row.try_get_by_index(4)?;
            Ok(GatewayDown {
                organisation: OrganisationId::new(row.try_get_by_index(0)?),
                name: row.try_get_by_index(1)?,
                down: Down {
                    since_ms: row.try_get_by_index(2)?,
                    probe_at_ms: row.try_get_by_index(3)?,
                    probes: u32::try_from(probes).unwrap_or(u32::MAX),
                },
            })
        })
        .collect()
}

/// Kinds of which any gateway is down.
pub(crate) async fn kinds_down(database: &Database) -> Result<Vec<String>, DbErr> {
    let rows = database.reader().rows("SELECT DISTINCT kind FROM gateways_down", []).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Answers whether nobody had found out before.
pub(crate) async fn gateway_went_down(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    name: &str,
    kind: &str,
    down: Down,
) -> Result<bool, DbErr> {
    let sql =
        "INSERT INTO gateways_down (organisation_id, account, kind, since_at, probe_at, probes)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organisation_id, account) DO NOTHING";
    let values = [
        organisation.uuid().into(),
        name.into(),
        kind.into(),
        down.since_ms.into(),
        down.probe_at_ms.into(),
        i64::from(down.probes).into(),
    ];
    Ok(tx.run(sql, values).await?.rows_affected() > 0)
}

/// Answers whether nobody had found out before.
pub(crate) async fn gateway_came_up(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    name: &str,
) -> Result<bool, DbErr> {
    let sql = "DELETE FROM gateways_down WHERE organisation_id = $1 AND account = $2";
    Ok(tx.run(sql, [organisation.uuid().into(), name.into()]).await?.rows_affected() > 0)
}

/// Answers whether it is the caller's: of all processes one takes it.
pub(crate) async fn take_probe(
    database: &Database,
    organisation: OrganisationId,
    name: &str,
    before: Down,
    after: Down,
) -> Result<bool, DbErr> {
    let sql = "UPDATE gateways_down SET probe_at = $4, probes = $5
               WHERE organisation_id = $1 AND account = $2 AND probe_at = $3";
    let values = [
        organisation.uuid().into(),
        name.into(),
        before.probe_at_ms.into(),
        after.probe_at_ms.into(),
        i64::from(after.probes).into(),
    ];
    let tx = database.begin().await?;
    let taken = tx.run(sql, values).await?.rows_affected() > 0;
    tx.commit().await?;
    Ok(taken)
}

pub(crate) async fn return_probe(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    name: &str,
    down: Down,
) -> Result<(), DbErr> {
    let sql = "UPDATE gateways_down SET probe_at = $3, probes = $4
               WHERE organisation_id = $1 AND account = $2";
    let probes = i64::from(down.probes).into();
    let values = [organisation.uuid().into(), name.into(), down.probe_at_ms.into(), probes];
    tx.run(sql, values).await.map(|_| ())
}

/// The organisation's others are gateways of earlier settings.
pub(crate) async fn forget_gateways_but(
    database: &Database,
    organisation: OrganisationId,
    [one, other]: [&str; 2],
) -> Result<(), DbErr> {
    let sql = "DELETE FROM gateways_down
               WHERE organisation_id = $1 AND account <> $2 AND account <> $3";
    let tx = database.begin().await?;
    tx.run(sql, [organisation.uuid().into(), one.into(), other.into()]).await?;
    tx.commit().await
}
