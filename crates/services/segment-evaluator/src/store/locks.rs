//! What replicas take turns at. On SQLite a transaction that writes is alone anyway.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::{Sql as _, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr};

/// Names the two kinds of turns; the organisation's own number tells its from others'.
const RUNS: i64 = 1;
const LOG: i64 = 2;

const SHARED: Text = differs("SELECT $1", "SELECT pg_advisory_xact_lock_shared($1)");
const ALONE: Text = differs("SELECT $1", "SELECT pg_advisory_xact_lock($1)");

/// Until the transaction ends no new run of the organisation appears: whoever makes addresses
/// shared must see every run that may have planned them.
pub(crate) async fn lock_runs(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    tx.row(SHARED, [number(organisation, RUNS).into()]).await.map(|_| ())
}

/// Waits for those who make addresses shared, so that the new run's plan sees what they wrote.
pub(crate) async fn lock_runs_for_new_one(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    tx.row(ALONE, [number(organisation, RUNS).into()]).await.map(|_| ())
}

/// One after the other writes the organisation's chain of consents.
pub(crate) async fn lock_log(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    tx.row(ALONE, [number(organisation, LOG).into()]).await.map(|_| ())
}

/// Organisations whose numbers meet only take turns needlessly.
fn number(organisation: OrganisationId, kind: i64) -> i64 {
    let (high, low) = organisation.uuid().as_u64_pair();
    (high.rotate_left(17) ^ low).cast_signed().wrapping_mul(4).wrapping_add(kind)
}
