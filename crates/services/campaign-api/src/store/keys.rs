use carillon_audit::{Fields, fields};
use carillon_contracts::{campaign::v1::Key, events::v1::KeyHash, ids::OrganisationId, time};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

/// A key as it is kept: never the key itself.
pub(crate) struct KeyRow {
    pub id: Uuid,
    pub name: String,
    pub prefix: String,
    pub test: bool,
    pub created_ms: i64,
    pub revoked: bool,
}

impl KeyRow {
    /// As the audit names it.
    pub(crate) fn subject(&self) -> String {
        format!("keys/{}", self.id)
    }

    pub(crate) fn audited(&self) -> Fields {
        let mut told =
            fields([("name", self.name.as_str().into()), ("prefix", self.prefix.as_str().into())]);
        if self.test {
            told.insert("test".to_owned(), true.into());
        }
        told
    }

    pub(crate) fn into_key(self) -> Key {
        Key {
            id: self.id.to_string(),
            name: self.name,
            prefix: self.prefix,
            test: self.test,
            create_time: Timestamp::from_millisecond(self.created_ms).ok().map(time::to_wire),
        }
    }
}

fn read(row: &QueryResult) -> Result<KeyRow, DbErr> {
    Ok(KeyRow {
        id: row.try_get("", "key_id")?,
        name: row.try_get("", "name")?,
        prefix: row.try_get("", "prefix")?,
        test: row.try_get("", "test")?,
        created_ms: row.try_get("", "created_at")?,
        revoked: row.try_get::<Option<i64>>("", "revoked_at")?.is_some(),
    })
}

const COLUMNS: &str = "key_id, name, prefix, test, created_at, revoked_at";

pub(crate) async fn insert_key(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    key: &KeyRow,
    hash: [u8; 32],
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO api_keys (key_id, organisation_id, hash, prefix, name, created_at, test)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            key.id.into(),
            organisation.uuid().into(),
            hash.to_vec().into(),
            key.prefix.as_str().into(),
            key.name.as_str().into(),
            key.created_ms.into(),
            key.test.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// A key of the organisation, revoked or not.
pub(crate) async fn key(
    connection: &impl Sql,
    organisation: OrganisationId,
    id: Uuid,
) -> Result<Option<KeyRow>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE organisation_id = $1 AND key_id = $2");
    connection
        .row(&sql, [organisation.uuid().into(), id.into()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Those that work, oldest first.
pub(crate) async fn keys(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<Vec<KeyRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM api_keys WHERE organisation_id = $1 AND revoked_at IS NULL
         ORDER BY created_at, key_id"
    );
    connection.rows(&sql, [organisation.uuid().into()]).await?.iter().map(read).collect()
}

pub(crate) async fn key_hashes(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<Vec<KeyHash>, DbErr> {
    let sql = "SELECT hash, key_id, prefix, test FROM api_keys
               WHERE organisation_id = $1 AND revoked_at IS NULL ORDER BY hash";
    let rows = connection.rows(sql, [organisation.uuid().into()]).await?;
    rows.iter()
        .map(|row| {
            let (hash, id): (Vec<u8>, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let id = id.as_bytes().to_vec().into();
            let (prefix, test) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            Ok(KeyHash { hash: hash.into(), id, prefix, test })
        })
        .collect()
}

pub(crate) async fn revoke_key(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: Uuid,
    now_ms: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE api_keys SET revoked_at = $3
               WHERE organisation_id = $1 AND key_id = $2 AND revoked_at IS NULL";
    tx.run(sql, [organisation.uuid().into(), id.into(), now_ms.into()]).await.map(|_| ())
}
