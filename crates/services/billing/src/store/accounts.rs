use carillon_contracts::{
    billing::v1::Account,
    ids::{BatchId, OrganisationId},
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult, QueryResult};
use uuid::Uuid;

use crate::domain::ledger::Ledger;

const ACCOUNT: &str =
    "SELECT available, held, spent, credited, low FROM accounts WHERE organisation_id = $1";

fn read(row: &QueryResult) -> Result<Account, DbErr> {
    Ok(Account {
        available: row.try_get_by_index(0)?,
        held: row.try_get_by_index(1)?,
        spent: row.try_get_by_index(2)?,
        credited: row.try_get_by_index(3)?,
        low: row.try_get_by_index(4)?,
        low_balance: 0,
    })
}

/// An account that was never credited reads as empty.
pub(crate) async fn account(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<Account, DbErr> {
    let row = connection.row(ACCOUNT, [organisation.uuid().into()]).await?;
    row.as_ref().map_or_else(|| Ok(Account::default()), read)
}

/// Locks the account until the transaction ends, and reads it. Whatever moves credits or looks at
/// holds of an organisation does this first: one at a time, whichever replica it is. One that was
/// never credited is created empty, so that there is a row to lock.
pub(crate) async fn lock_account(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<Ledger, DbErr> {
    let locked = format!("{ACCOUNT} FOR UPDATE");
    if let Some(row) = tx.row(&locked, [organisation.uuid().into()]).await? {
        return Ok(Ledger::of(read(&row)?));
    }
    tx.run(
        "INSERT INTO accounts (organisation_id, available, held, spent, credited, low)
         VALUES ($1, 0, 0, 0, 0, FALSE) ON CONFLICT DO NOTHING",
        [organisation.uuid().into()],
    )
    .await?;
    let row = tx.row(&locked, [organisation.uuid().into()]).await?;
    row.as_ref().map_or_else(|| Ok(Account::default()), read).map(Ledger::of)
}

pub(crate) async fn credited_by_request(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    request_id: &str,
) -> Result<Option<i64>, DbErr> {
    let sql = "SELECT amount FROM credits WHERE organisation_id = $1 AND request_id = $2";
    let row = tx.row(sql, [organisation.uuid().into(), request_id.into()]).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

pub(crate) async fn keep_request(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    request_id: &str,
    amount: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO credits (organisation_id, request_id, amount) VALUES ($1, $2, $3)",
        [organisation.uuid().into(), request_id.into(), amount.into()],
    )
    .await
    .map(|_| ())
}

/// What lines of the ledger are about.
pub(crate) enum Reference<'a> {
    Request(&'a str),
    Batch(BatchId),
}

/// Stores a locked account with the lines posted to it; without any, nothing.
pub(crate) async fn save(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    ledger: Ledger,
    reference: Reference<'_>,
    at_ms: i64,
) -> Result<(), DbErr> {
    let Ledger { account, lines } = ledger;
    if lines.is_empty() {
        return Ok(());
    }
    save_account(tx, organisation, &account).await?;
    let (request, batch) = match reference {
        Reference::Request(id) => (Some(id.to_owned()), None),
        Reference::Batch(id) => (None, Some(id.uuid())),
    };
    for line in lines {
        tx.run(
            "INSERT INTO entries
                (organisation_id, kind, amount, request_id, batch_id, available, held, spent,
                 created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [
                organisation.uuid().into(),
                line.kind.word().into(),
                line.amount.into(),
                request.clone().into(),
                batch.into(),
                line.after.available.into(),
                line.after.held.into(),
                line.after.spent.into(),
                at_ms.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// A locked account of which only `low` may have changed, or whose lines are written beside this.
pub(crate) async fn save_account(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    account: &Account,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE accounts SET available = $2, held = $3, spent = $4, credited = $5, low = $6
         WHERE organisation_id = $1",
        [
            organisation.uuid().into(),
            account.available.into(),
            account.held.into(),
            account.spent.into(),
            account.credited.into(),
            account.low.into(),
        ],
    )
    .await
    .map(|_| ())
}

#[derive(FromQueryResult)]
pub(crate) struct EntryRow {
    pub number: i64,
    pub kind: String,
    pub amount: i64,
    pub request_id: Option<String>,
    pub batch_id: Option<Uuid>,
    pub campaign_id: Option<Uuid>,
    pub available: i64,
    pub held: i64,
    pub spent: i64,
    pub created_at: i64,
}

pub(crate) async fn entries(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: i64,
    limit: i64,
) -> Result<Vec<EntryRow>, DbErr> {
    let sql = "SELECT e.number, e.kind, e.amount, e.request_id, e.batch_id, h.campaign_id,
                   e.available, e.held, e.spent, e.created_at
               FROM entries e LEFT JOIN holds h
                   ON h.organisation_id = e.organisation_id AND h.batch_id = e.batch_id
               WHERE e.organisation_id = $1 AND e.number > $2 ORDER BY e.number LIMIT $3";
    let rows =
        connection.rows(sql, [organisation.uuid().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| EntryRow::from_query_result(row, "")).collect()
}
