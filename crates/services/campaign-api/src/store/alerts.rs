use carillon_contracts::{campaign::v1::Alert, ids::OrganisationId, time};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};

pub(crate) async fn add_alert(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    kind: &str,
    message: String,
    now_ms: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO alerts (organisation_id, kind, message, created_at) VALUES ($1, $2, $3, $4)",
        [organisation.uuid().into(), kind.into(), message.into(), now_ms.into()],
    )
    .await
    .map(|_| ())
}

/// Newest first, each with its number; those below `before`.
pub(crate) async fn alerts(
    connection: &impl Sql,
    organisation: OrganisationId,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, Alert)>, DbErr> {
    let sql = "SELECT number, kind, message, created_at FROM alerts
               WHERE organisation_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
    let rows =
        connection.rows(sql, [organisation.uuid().into(), before.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            let created = Timestamp::from_millisecond(row.try_get_by_index(3)?);
            let alert = Alert {
                kind: row.try_get_by_index(1)?,
                message: row.try_get_by_index(2)?,
                create_time: created.ok().map(time::to_wire),
            };
            Ok((row.try_get_by_index(0)?, alert))
        })
        .collect()
}
