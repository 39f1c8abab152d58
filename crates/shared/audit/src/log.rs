//! The log itself. It is append-only, which the database sees to, and hash-chained: an entry that was
//! changed, removed, inserted, or cut off the end in spite of that shows.

use carillon_contracts::{events::v1::AuditRecorded, ids::OrganisationId};
use carillon_service_kit::{Database, database::Sql};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use crate::{
    PLATFORM,
    entry::{BEGINNING, Entry, Hash},
};

const PAGE: i64 = 1_000;

/// An entry with the hashes that are stored with it.
pub struct Logged {
    pub entry: Entry,
    pub previous: Vec<u8>,
    pub hash: Vec<u8>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// So many entries, each as it was written; and the hash of the last, 32 bytes.
    Whole(i64, Vec<u8>),
    /// The first entry that is not as it was written, or that is missing.
    Broken(i64),
}

/// Writes an entry. Nobody else writes one of the organisation until the transaction ends.
pub async fn append(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    at_ms: i64,
    recorded: &AuditRecorded,
) -> Result<(), DbErr> {
    let (last, previous) = lock_head(tx, organisation).await?;
    let entry = Entry {
        number: last + 1,
        at: at_ms,
        key_id: Uuid::from_slice(&recorded.key_id).ok(),
        key_prefix: recorded.key_prefix.clone(),
        act: recorded.act.clone(),
        subject: recorded.subject.clone(),
        before: recorded.before.clone(),
        after: recorded.after.clone(),
    };
    let hash = entry.hash(organisation, &previous);
    insert(tx, organisation, entry, previous, hash).await?;
    let sql = "UPDATE audit_heads SET number = $2, hash = $3 WHERE organisation_id = $1";
    let values = [organisation.uuid().into(), (last + 1).into(), hash.to_vec().into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Whoever writes entries of several organisations in one transaction does this first: two that did
/// not could wait for each other in a circle.
pub async fn take_turns(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    lock_head(tx, PLATFORM).await.map(|_| ())
}

/// The last entry's number and hash.
async fn lock_head(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(i64, Hash), DbErr> {
    let locked = format!("{HEAD} FOR UPDATE");
    if let Some(row) = tx.row(&locked, [organisation.uuid().into()]).await? {
        return head(&row);
    }
    tx.run(
        "INSERT INTO audit_heads (organisation_id, number, hash) VALUES ($1, 0, $2)
         ON CONFLICT DO NOTHING",
        [organisation.uuid().into(), BEGINNING.to_vec().into()],
    )
    .await?;
    let row = tx.row(&locked, [organisation.uuid().into()]).await?;
    head(&row.ok_or(DbErr::RecordNotInserted)?)
}

fn head(row: &QueryResult) -> Result<(i64, Hash), DbErr> {
    let hash: Vec<u8> = row.try_get_by_index(1)?;
    let hash = hash.try_into().map_err(|_| DbErr::Type("a hash of other than 32 bytes".into()))?;
    Ok((row.try_get_by_index(0)?, hash))
}

async fn insert(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    entry: Entry,
    previous: Hash,
    hash: Hash,
) -> Result<(), DbErr> {
    let Entry { number, at, key_id, key_prefix, act, subject, before, after } = entry;
    tx.run(
        "INSERT INTO audit_entries (organisation_id, number, at, key_id, key_prefix, act, subject,
            before, after, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [
            organisation.uuid().into(),
            number.into(),
            at.into(),
            key_id.into(),
            key_prefix.into(),
            act.into(),
            subject.into(),
            before.into(),
            after.into(),
            previous.to_vec().into(),
            hash.to_vec().into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Newest first; those with a number under `before`.
pub async fn entries(
    connection: &impl Sql,
    organisation: OrganisationId,
    before: i64,
    limit: i64,
) -> Result<Vec<Logged>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_entries WHERE organisation_id = $1 AND number < $2
         ORDER BY number DESC LIMIT $3"
    );
    let values = [organisation.uuid().into(), before.into(), limit.into()];
    connection.rows(&sql, values).await?.iter().map(read).collect()
}

/// Recomputes the whole chain of an organisation.
pub async fn verify(database: &Database, organisation: OrganisationId) -> Result<Checked, DbErr> {
    let snapshot = database.snapshot().await?;
    let head = match snapshot.row(HEAD, [organisation.uuid().into()]).await? {
        Some(row) => head(&row)?,
        None => (0, BEGINNING),
    };
    let (mut number, mut last) = (0, BEGINNING);
    loop {
        let page = oldest(&snapshot, organisation, number).await?;
        if page.is_empty() {
            break;
        }
        for logged in page {
            number += 1;
            let hash = logged.entry.hash(organisation, &last);
            if logged.entry.number != number || logged.previous != last || logged.hash != hash {
                return Ok(Checked::Broken(number));
            }
            last = hash;
        }
    }
    snapshot.commit().await?;
    // What was cut off the end leaves a chain that is whole in itself.
    Ok(match (number, last) {
        found if found == head => Checked::Whole(number, last.to_vec()),
        (number, _) if number == head.0 => Checked::Broken(number.max(1)),
        (number, _) => Checked::Broken(number.min(head.0) + 1),
    })
}

async fn oldest(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: i64,
) -> Result<Vec<Logged>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_entries WHERE organisation_id = $1 AND number > $2
         ORDER BY number LIMIT $3"
    );
    let values = [organisation.uuid().into(), after.into(), PAGE.into()];
    connection.rows(&sql, values).await?.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<Logged, DbErr> {
    Ok(Logged {
        entry: Entry {
            number: row.try_get("", "number")?,
            at: row.try_get("", "at")?,
            key_id: row.try_get("", "key_id")?,
            key_prefix: row.try_get("", "key_prefix")?,
            act: row.try_get("", "act")?,
            subject: row.try_get("", "subject")?,
            before: row.try_get("", "before")?,
            after: row.try_get("", "after")?,
        },
        previous: row.try_get("", "previous_hash")?,
        hash: row.try_get("", "hash")?,
    })
}

const HEAD: &str = "SELECT number, hash FROM audit_heads WHERE organisation_id = $1";
const COLUMNS: &str =
    "number, at, key_id, key_prefix, act, subject, before, after, previous_hash, hash";
