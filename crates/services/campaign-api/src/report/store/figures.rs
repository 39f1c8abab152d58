//! Figures over all runs kept, for metrics.

use carillon_service_kit::{
    Database,
    database::{Sql as _, Text, differs},
};
use sea_orm::DbErr;

/// A channel's word, a state's, and how many messages.
pub(crate) async fn settled_of_all_runs(
    database: &Database,
) -> Result<Vec<(String, String, i64)>, DbErr> {
    let rows = database.reader().rows(SETTLED, []).await?;
    rows.iter()
        .map(|row| {
            Ok((row.try_get("", "channel")?, row.try_get("", "word")?, row.try_get("", "total")?))
        })
        .collect()
}

/// A channel's word, its open messages, and when the oldest run with one was due.
pub(crate) async fn open_of_all_runs(
    database: &Database,
) -> Result<Vec<(String, i64, Option<i64>)>, DbErr> {
    let rows = database.reader().rows(OPEN, []).await?;
    rows.iter()
        .map(|row| {
            Ok((row.try_get("", "channel")?, row.try_get("", "open")?, row.try_get("", "oldest")?))
        })
        .collect()
}

const SETTLED: Text<'static> = differs(
    "SELECT b.channel, s.key AS word, CAST(SUM(s.value) AS BIGINT) AS total
     FROM report_batches b, json_each(b.settled) s GROUP BY b.channel, s.key",
    "SELECT b.channel, s.key AS word, CAST(SUM(s.value::bigint) AS BIGINT) AS total
     FROM report_batches b CROSS JOIN LATERAL jsonb_each_text(b.settled::jsonb) s
     GROUP BY b.channel, s.key",
);

const OPEN: &str = "
SELECT b.channel, CAST(SUM(b.open) AS BIGINT) AS open, MIN(r.nominal_at) AS oldest
FROM report_batches b JOIN report_runs r ON r.number = b.run
WHERE b.open > 0 GROUP BY b.channel";
