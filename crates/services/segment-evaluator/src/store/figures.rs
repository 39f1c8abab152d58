//! How much waits at each stage, and since when.

use carillon_service_kit::database::{Sql, Text, same};
use sea_orm::DbErr;

/// Work that waits at one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    pub stage: &'static str,
    pub count: i64,
    /// Milliseconds since 1970.
    pub oldest: Option<i64>,
    pub detail: &'static str,
}

/// Plans under way, batches that wait for a place, released ones that are not accepted, and parked
/// ones.
pub(crate) async fn figures_of_all_organisations(
    connection: &impl Sql,
) -> Result<Vec<Figure>, DbErr> {
    let mut figures = Vec::with_capacity(STAGES.len());
    for (stage, detail, sql) in STAGES {
        let row = connection.row(sql, []).await?;
        let (count, oldest) = match row {
            Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            None => (0, None),
        };
        figures.push(Figure { stage, count, oldest, detail });
    }
    Ok(figures)
}

/// Each is counted from an index that holds only what is open.
pub(super) const STAGES: [(&str, &str, Text); 4] = [
    (
        "plans",
        "runs whose audience is not cut to its end",
        same("SELECT COUNT(*), MIN(created_at) FROM runs WHERE NOT closed"),
    ),
    (
        "batches_waiting",
        "planned, without a place",
        same("SELECT COUNT(*), MIN(planned_at) FROM batches WHERE released_at IS NULL"),
    ),
    (
        "batches_released",
        "released, not yet accepted by a dispatcher",
        same(
            "SELECT COUNT(*), MIN(released_at) FROM batches
             WHERE NOT accepted AND NOT closed
             AND released_at IS NOT NULL AND given_up_at IS NULL AND parked_at IS NULL",
        ),
    ),
    (
        "batches_parked",
        "released several times without a word from a dispatcher",
        same("SELECT COUNT(*), MIN(parked_at) FROM batches WHERE parked_at IS NOT NULL"),
    ),
];
