use carillon_contracts::{billing::v1::Account, ids::OrganisationId};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult};

/// An account that was never credited reads as empty.
pub(crate) async fn account(
    connection: &impl Sql,
    organisation: OrganisationId,
) -> Result<Account, DbErr> {
    let sql = "SELECT available, held, spent, credited FROM accounts WHERE organisation_id = $1";
    let Some(row) = connection.row(sql, [organisation.uuid().into()]).await? else {
        return Ok(Account::default());
    };
    Ok(Account {
        available: row.try_get("", "available")?,
        held: row.try_get("", "held")?,
        spent: row.try_get("", "spent")?,
        credited: row.try_get("", "credited")?,
    })
}

/// Locks the account until the transaction ends, and reads it. Whatever moves credits or looks at
/// holds of an organisation does this first: one at a time, whichever replica it is. One that was
/// never credited is created empty, so that there is a row to lock.
pub(crate) async fn lock_account(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    let sql = "SELECT 1 FROM accounts WHERE organisation_id = $1 FOR UPDATE";
    if tx.row(sql, [organisation.uuid().into()]).await?.is_some() {
        return Ok(());
    }
    tx.run(
        "INSERT INTO accounts (organisation_id, available, held, spent, credited)
         VALUES ($1, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        [organisation.uuid().into()],
    )
    .await?;
    tx.row(sql, [organisation.uuid().into()]).await.map(|_| ())
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

/// In a locked account.
pub(crate) async fn add_credit(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    request_id: &str,
    amount: i64,
) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO credits (organisation_id, request_id, amount) VALUES ($1, $2, $3)",
        [organisation.uuid().into(), request_id.into(), amount.into()],
    )
    .await?;
    tx.run(
        "UPDATE accounts SET available = available + $2, credited = credited + $2
         WHERE organisation_id = $1",
        [organisation.uuid().into(), amount.into()],
    )
    .await?;
    Ok(())
}

/// Moves credits into `held` and `spent`, from `available`; negative amounts go back.
pub(crate) async fn move_credits(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    held: i64,
    spent: i64,
) -> Result<(), DbErr> {
    let moved = tx
        .run(
            "UPDATE accounts SET held = held + $2, spent = spent + $3, available = available - $2 - $3
             WHERE organisation_id = $1",
            [organisation.uuid().into(), held.into(), spent.into()],
        )
        .await?;
    if moved.rows_affected() == 0 {
        return Err(DbErr::Custom(format!(
            "organisation {organisation} has no account to move in"
        )));
    }
    Ok(())
}

pub(crate) struct NewEntry<'a> {
    pub kind: &'static str,
    pub amount: i64,
    pub reference: &'a str,
    pub at_ms: i64,
}

#[derive(FromQueryResult)]
pub(crate) struct EntryRow {
    pub number: i64,
    pub kind: String,
    pub amount: i64,
    pub reference: String,
    pub available: i64,
    pub created_at: i64,
}

impl NewEntry<'_> {
    /// Written after the account moved, so that it shows what was available then.
    pub(crate) async fn write(
        self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<(), DbErr> {
        tx.run(
            "INSERT INTO entries (organisation_id, kind, amount, reference, available, created_at)
             SELECT $1, $2, $3, $4, available, $5 FROM accounts WHERE organisation_id = $1",
            [
                organisation.uuid().into(),
                self.kind.into(),
                self.amount.into(),
                self.reference.into(),
                self.at_ms.into(),
            ],
        )
        .await
        .map(|_| ())
    }
}

pub(crate) async fn entries(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: i64,
    limit: i64,
) -> Result<Vec<EntryRow>, DbErr> {
    let sql = "SELECT number, kind, amount, reference, available, created_at FROM entries
               WHERE organisation_id = $1 AND number > $2 ORDER BY number LIMIT $3";
    let rows =
        connection.rows(sql, [organisation.uuid().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| EntryRow::from_query_result(row, "")).collect()
}
