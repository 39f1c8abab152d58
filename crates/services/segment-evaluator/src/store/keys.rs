//! The organisations' data keys, wrapped.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr};

/// The name of the wrapping key, and the organisation's data key as wrapped by it.
pub(crate) async fn data_key(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<Option<(String, Vec<u8>)>, DbErr> {
    let sql = "SELECT key_id, wrapped FROM data_keys WHERE organisation_id = $1";
    let row = connection.row(sql, [organisation.uuid().into()]).await?;
    row.map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).transpose()
}

/// The first key that is kept stays.
pub(crate) async fn keep_data_key(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    key_id: &str,
    wrapped: Vec<u8>,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO data_keys (organisation_id, key_id, wrapped) VALUES ($1, $2, $3)
         ON CONFLICT (organisation_id) DO NOTHING",
        [organisation.uuid().into(), key_id.into(), wrapped.into()],
    )
    .await
    .map(|_| ())
}
