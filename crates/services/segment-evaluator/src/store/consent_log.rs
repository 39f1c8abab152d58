//! The append-only log of consent.

use carillon_contracts::ids::{CustomerId, OrganisationId};
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::{bytes, json};
use crate::{
    domain::consent::{BEGINNING, Entry, Hash},
    hex,
};

/// An entry with the hashes that were stored with it.
pub(crate) struct LogRow {
    pub entry: Entry,
    pub previous: Vec<u8>,
    pub hash: Vec<u8>,
}

/// The number and hash of the last entry.
pub(crate) async fn consent_head(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(i64, Hash), DbErr> {
    let sql = "SELECT n, hash FROM consent_log WHERE organisation_id = $1 ORDER BY n DESC LIMIT 1";
    match tx.row(sql, [organisation.uuid().into()]).await? {
        Some(row) => Ok((row.try_get_by_index(0)?, bytes(row.try_get_by_index(1)?)?)),
        None => Ok((0, BEGINNING)),
    }
}

/// Entries in order, each with the hash before it and its own.
pub(crate) async fn append_consents(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    entries: &[(Entry, Hash, Hash)],
) -> Result<(), DbErr> {
    let rows: Vec<_> = entries
        .iter()
        .map(|(entry, previous, hash)| {
            let customer = hex::encode(entry.customer.uuid().as_bytes());
            let (previous, hash) = (hex::encode(previous), hex::encode(hash));
            (entry.number, customer, entry.at, &entry.by, &entry.from, &entry.to, previous, hash)
        })
        .collect();
    tx.run(APPEND, [organisation.uuid().into(), json(&rows)?.into()]).await.map(|_| ())
}

const APPEND: Text = differs(
    "INSERT INTO consent_log (organisation_id, n, customer_id, at, changed_by, from_consent,
        to_consent, prev_hash, hash)
     SELECT $1, value->>0, unhex(value->>1), value->>2, value->>3, value->>4, value->>5,
        unhex(value->>6), unhex(value->>7)
     FROM json_each($2)",
    "INSERT INTO consent_log (organisation_id, n, customer_id, at, changed_by, from_consent,
        to_consent, prev_hash, hash)
     SELECT $1, (value->>0)::bigint, (value->>1)::uuid, (value->>2)::bigint, value->>3,
        value->>4, value->>5, decode(value->>6, 'hex'), decode(value->>7, 'hex')
     FROM jsonb_array_elements($2::jsonb) AS l(value)",
);

pub(crate) async fn consent_page(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: i64,
    limit: i64,
) -> Result<Vec<LogRow>, DbErr> {
    let sql = "SELECT n, customer_id, at, changed_by, from_consent, to_consent, prev_hash, hash
               FROM consent_log WHERE organisation_id = $1 AND n > $2 ORDER BY n LIMIT $3";
    let values = [organisation.uuid().into(), after.into(), limit.into()];
    let rows = connection.rows(sql, values).await?;
    rows.iter()
        .map(|row| {
            let customer: Uuid = row.try_get_by_index(1)?;
            Ok(LogRow {
                entry: Entry {
                    number: row.try_get_by_index(0)?,
                    customer: CustomerId::new(customer),
                    at: row.try_get_by_index(2)?,
                    by: row.try_get_by_index(3)?,
                    from: row.try_get_by_index(4)?,
                    to: row.try_get_by_index(5)?,
                },
                previous: row.try_get_by_index(6)?,
                hash: row.try_get_by_index(7)?,
            })
        })
        .collect()
}
