use carillon_contracts::{jobs::v1::Channel, vocabulary::ChannelWord as _};
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DbErr, QueryResult};

use super::runs::RunKey;
use crate::report::sums::{RunSums, Sums, Words};

/// A run's figures. Read them in a snapshot, or in the transaction that changed them.
pub(crate) async fn run_sums(connection: &impl Sql, run: RunKey) -> Result<RunSums, DbErr> {
    let mut sums = RunSums::default();
    for row in connection.rows(OF_BATCHES, [run.into()]).await? {
        sums.updated_ms = sums.updated_ms.max(row.try_get("", "updated_at")?);
        let channel = sums.channels.entry(channel(&row)?).or_default();
        channel.planned = count(&row, "planned")?;
        channel.in_flight = count(&row, "open")?;
        channel.parts = count(&row, "parts")?;
        channel.units = count(&row, "units")?;
    }
    type Part = fn(&mut Sums) -> &mut Words;
    let parts: [(Text<'static>, Part); 3] = [
        (SETTLED, |sums| &mut sums.states),
        (WAITING, |sums| &mut sums.waiting),
        (SKIPPED.into(), |sums| &mut sums.skipped),
    ];
    for (sql, part) in parts {
        for row in connection.rows(sql, [run.into()]).await? {
            let words = part(sums.channels.entry(channel(&row)?).or_default());
            let total = count(&row, "total")?;
            if total > 0 {
                words.insert(row.try_get("", "word")?, total);
            }
        }
    }
    Ok(sums)
}

fn channel(row: &QueryResult) -> Result<Channel, DbErr> {
    let word: String = row.try_get("", "channel")?;
    Channel::from_word(&word).map_err(|error| DbErr::Type(error.to_string()))
}

fn count(row: &QueryResult, column: &str) -> Result<u64, DbErr> {
    row.try_get::<i64>("", column).map(i64::cast_unsigned)
}

const OF_BATCHES: &str = "
SELECT channel, CAST(SUM(count) AS BIGINT) AS planned, CAST(SUM(open) AS BIGINT) AS open,
    CAST(SUM(COALESCE(parts, units)) AS BIGINT) AS parts, CAST(SUM(units) AS BIGINT) AS units,
    MAX(updated_at) AS updated_at
FROM report_batches WHERE run = $1 GROUP BY channel";

const SETTLED: Text<'static> = differs(
    "
SELECT b.channel, s.key AS word, SUM(s.value) AS total
FROM report_batches b, json_each(b.settled) s
WHERE b.run = $1 AND b.settled <> '{}' GROUP BY b.channel, s.key",
    "
SELECT b.channel, s.key AS word, CAST(SUM(s.value::bigint) AS BIGINT) AS total
FROM report_batches b CROSS JOIN LATERAL jsonb_each_text(b.settled::jsonb) s
WHERE b.run = $1 AND b.settled <> '{}' GROUP BY b.channel, s.key",
);

const WAITING: Text<'static> = differs(
    "
SELECT b.channel, w.key AS word, SUM(w.value) AS total
FROM report_batches b, json_each(b.waiting) w
WHERE b.run = $1 AND b.waiting <> '{}' GROUP BY b.channel, w.key",
    "
SELECT b.channel, w.key AS word, CAST(SUM(w.value::bigint) AS BIGINT) AS total
FROM report_batches b CROSS JOIN LATERAL jsonb_each_text(b.waiting::jsonb) w
WHERE b.run = $1 AND b.waiting <> '{}' GROUP BY b.channel, w.key",
);

const SKIPPED: &str = "
SELECT channel, reason AS word, CAST(SUM(count) AS BIGINT) AS total
FROM report_skips WHERE run = $1 GROUP BY channel, reason";
