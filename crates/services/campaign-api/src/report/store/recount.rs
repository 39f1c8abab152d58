//! The nightly recount: batches by the piece, and the pieces that differ.

use std::collections::BTreeMap;

use carillon_contracts::{
    ids::{BatchId, OrganisationId, RunId},
    vocabulary::MessageState,
};
use carillon_service_kit::{
    Database,
    database::{Sql, Text, differs, list},
};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};

use super::runs::RunKey;
use crate::report::sums::Words;

/// What was recounted last: a run, and a batch of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    run: i64,
    batch: i64,
}

/// A batch of any organisation, as its totals tell of it and as its messages say.
pub(crate) struct Counted {
    pub number: i64,
    pub batch: BatchId,
    pub key: RunKey,
    pub run: RunId,
    pub organisation: OrganisationId,
    pub told: Tally,
    pub found: Tally,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub settled: Words,
    pub waiting: Words,
    /// Of what was posted, as `units` are.
    pub parts: i64,
    pub units: i64,
}

/// Whether the night's recount has not begun, or has not come to its end.
pub(crate) async fn recount_is_due(connection: &impl Sql, night: i64) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM report_recount WHERE night < $1 OR NOT done";
    Ok(connection.row(sql, [night.into()]).await?.is_some())
}

/// Where to go on; `None` if another replica is at it, or all is done.
pub(crate) async fn take_recount(
    tx: &DatabaseTransaction,
    night: i64,
) -> Result<Option<Place>, DbErr> {
    let sql = "SELECT night, run, batch, done FROM report_recount FOR UPDATE SKIP LOCKED";
    let Some(row) = tx.row(sql, []).await? else { return Ok(None) };
    if row.try_get::<i64>("", "night")? < night {
        let begin = "UPDATE report_recount SET night = $1, done = FALSE";
        tx.run(begin, [night.into()]).await?;
        return Ok(Some(Place { run: 0, batch: 0 }));
    }
    if row.try_get("", "done")? {
        return Ok(None);
    }
    Ok(Some(Place { run: row.try_get("", "run")?, batch: row.try_get("", "batch")? }))
}

/// Batches just after a place, all of one run, and the place that they lead to; `None` after the
/// last. Runs that are not due or changed since then are passed over, unless one of their batches
/// was found to differ.
pub(crate) async fn next_batches(
    tx: &DatabaseTransaction,
    mut place: Place,
    since: i64,
    limit: i64,
) -> Result<Option<(Place, Vec<i64>)>, DbErr> {
    loop {
        let sql = "SELECT number FROM report_batches WHERE run = $1 AND number > $2
                   ORDER BY number LIMIT $3";
        let rows = tx.rows(sql, [place.run.into(), place.batch.into(), limit.into()]).await?;
        let numbers = rows.iter().map(|row| row.try_get_by_index(0));
        let numbers: Vec<i64> = numbers.collect::<Result<_, DbErr>>()?;
        if let Some(last) = numbers.last() {
            return Ok(Some((Place { batch: *last, ..place }, numbers)));
        }
        let Some(row) = tx.row(NEXT_RUN, [place.run.into(), since.into()]).await? else {
            return Ok(None);
        };
        place = Place { run: row.try_get_by_index(0)?, batch: 0 };
    }
}

/// With none, the night's recount is done.
pub(crate) async fn save_place(
    tx: &DatabaseTransaction,
    place: Option<Place>,
) -> Result<(), DbErr> {
    let Place { run, batch } = place.unwrap_or(Place { run: 0, batch: 0 });
    let sql = "UPDATE report_recount SET run = $1, batch = $2, done = $3";
    tx.run(sql, [run.into(), batch.into(), place.is_none().into()]).await.map(|_| ())
}

/// Those of the batches whose totals are older than that. One statement, so it sees one state.
pub(crate) async fn recounted_of_all_organisations(
    tx: &DatabaseTransaction,
    numbers: &[i64],
    quiet_since: i64,
) -> Result<Vec<Counted>, DbErr> {
    let mut counted: BTreeMap<i64, Counted> = BTreeMap::new();
    for row in tx.rows(RECOUNT, [list::numbers(numbers).into(), quiet_since.into()]).await? {
        let number: i64 = row.try_get("", "number")?;
        let one = match counted.remove(&number) {
            Some(one) => one,
            None => Counted {
                number,
                batch: BatchId::new(row.try_get("", "batch_id")?),
                key: RunKey::read(&row, "run")?,
                run: RunId::new(row.try_get("", "run_id")?),
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                told: told(&row)?,
                found: Tally::default(),
            },
        };
        counted.insert(number, Counted { found: add(one.found, &row)?, ..one });
    }
    Ok(counted.into_values().collect())
}

fn told(row: &QueryResult) -> Result<Tally, DbErr> {
    let words = |column: &str| -> Result<Words, DbErr> {
        let text: String = row.try_get("", column)?;
        let words = serde_json::from_str::<Words>(&text);
        let words = words.map_err(|error| DbErr::Json(error.to_string()))?;
        Ok(words.into_iter().filter(|(_, count)| *count > 0).collect())
    };
    Ok(Tally {
        settled: words("settled")?,
        waiting: words("waiting")?,
        parts: row.try_get("", "parts")?,
        units: row.try_get("", "units")?,
    })
}

/// Messages of the batch that are alike; a batch without any has one row that says nothing.
fn add(mut tally: Tally, row: &QueryResult) -> Result<Tally, DbErr> {
    let Some(word) = row.try_get::<Option<String>>("", "state")? else { return Ok(tally) };
    let count = row.try_get::<i64>("", "n")?.cast_unsigned();
    match word.parse::<MessageState>() {
        Ok(MessageState::Queued) => {
            *tally.waiting.entry(row.try_get("", "reason")?).or_default() += count;
        }
        Ok(state) if !state.is_settled() => {}
        state => {
            *tally.settled.entry(word).or_default() += count;
            if state.is_ok_and(MessageState::is_posted) {
                tally.parts += row.try_get::<i64>("", "posted_parts")?;
                tally.units += row.try_get::<i64>("", "posted")?;
            }
        }
    }
    Ok(tally)
}

/// Notes which of the batches differ now, and forgets the others.
pub(crate) async fn keep_disagreements(
    tx: &DatabaseTransaction,
    (differing, agreeing): (&[&Counted], &[i64]),
    now_ms: i64,
) -> Result<(), DbErr> {
    for one in differing {
        let sql = "INSERT INTO report_disagreements (batch, run, found_at) VALUES ($1, $2, $3)
                   ON CONFLICT DO NOTHING";
        tx.run(sql, [one.number.into(), one.key.into(), now_ms.into()]).await?;
    }
    tx.run(FORGET, [list::numbers(agreeing).into()]).await.map(|_| ())
}

/// Batches that the last recount of them found to differ.
pub(crate) async fn disagreements_of_all_runs(database: &Database) -> Result<i64, DbErr> {
    let row = database.reader().row("SELECT COUNT(*) FROM report_disagreements", []).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

const NEXT_RUN: &str = "
SELECT r.number FROM report_runs r WHERE r.number > $1 AND (
    r.updated_at >= $2 OR r.deadline_at >= $2
    OR EXISTS (SELECT 1 FROM report_disagreements d WHERE d.run = r.number))
ORDER BY r.number LIMIT 1";

macro_rules! recount {
    ($chosen:literal) => {
        concat!(
            "
SELECT b.number, b.batch_id, b.run, r.run_id, r.organisation_id, b.settled, b.waiting, b.units,
    COALESCE(b.parts, b.units) AS parts, m.state, m.reason, COUNT(m.position) AS n,
    CAST(COALESCE(SUM(COALESCE(m.parts, m.units)), 0) AS BIGINT) AS posted_parts,
    CAST(COALESCE(SUM(m.units), 0) AS BIGINT) AS posted
FROM report_batches b JOIN report_runs r ON r.number = b.run
LEFT JOIN report_messages m ON m.batch = b.number
WHERE b.number ",
            $chosen,
            " AND b.updated_at <= $2
GROUP BY b.number, r.number, m.state, m.reason"
        )
    };
}

const RECOUNT: Text<'static> = differs(
    recount!("IN (SELECT value FROM json_each($1))"),
    recount!(
        "= ANY(ARRAY(
    SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS given(value)))"
    ),
);

const FORGET: Text<'static> = differs(
    "DELETE FROM report_disagreements WHERE batch IN (SELECT value FROM json_each($1))",
    "DELETE FROM report_disagreements WHERE batch IN (
         SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS given(value))",
);

/// What tests do behind the report's back.
#[cfg(test)]
pub(crate) mod tampering {
    use super::*;

    async fn change(database: &Database, sql: &str, values: Vec<sea_orm::Value>) {
        let tx = database.begin().await.expect("begun");
        tx.run(sql, values).await.expect("changed");
        tx.commit().await.expect("committed");
    }

    /// Of the first batch.
    pub(crate) async fn set_first_message(database: &Database, columns: &str) {
        let sql = format!(
            "UPDATE report_messages SET {columns}
             WHERE batch = (SELECT MIN(batch) FROM report_messages) AND position = 0"
        );
        change(database, &sql, Vec::new()).await;
    }

    pub(crate) async fn touch_runs(database: &Database, at: i64) {
        change(database, "UPDATE report_runs SET updated_at = $1", vec![at.into()]).await;
    }

    pub(crate) async fn first_run_differs(database: &Database) -> bool {
        let sql = "SELECT 1 FROM report_disagreements d JOIN report_batches b ON b.number = d.batch
                   WHERE d.run = b.run AND b.run = (SELECT MIN(number) FROM report_runs)";
        database.reader().row(sql, []).await.expect("read").is_some()
    }
}
