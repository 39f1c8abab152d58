//! Whoever changes what must hold at once is answered "in effect" when every subscriber has passed
//! the event, and after 2 s without that "stored, not yet in effect". The event stays in the outbox
//! until it is, so what was answered so is watched across restarts, by every replica.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use carillon_broker::topology;
use carillon_service_kit::{Database, Stop, database::Sql as _};
use sea_orm::DbErr;

use crate::{
    append::Outbox,
    marks::{marks_of, passed_by_all},
};

/// How long an answer waits.
const IN_EFFECT_WITHIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(1);
/// Events of one stream that are watched one by one; others are when these are through.
const WATCHED: i64 = 1_000;

impl Outbox {
    /// Waits until every subscriber has passed all the rows, 2 s at most. Answers whether they have.
    /// Call it after the commit.
    pub async fn in_effect(&self, rows: impl IntoIterator<Item = i64>) -> bool {
        self.wake();
        let begun = Instant::now();
        for row in rows {
            let left = IN_EFFECT_WITHIN.saturating_sub(begun.elapsed());
            let passed = self.passed(row, left).await;
            // What is told of is committed: not knowing how far it got must not look like a failure.
            let passed = passed.unwrap_or_else(|error| {
                tracing::warn!(%error, "not known whether a change is in effect");
                false
            });
            if !passed {
                return false;
            }
        }
        true
    }

    /// The newest row of an event type, if one is kept: who asks for what was asked before waits for
    /// it, for the change that was told of then may still be under way.
    pub async fn newest(&self, event: &str) -> Result<Option<i64>, DbErr> {
        let sql = "SELECT MAX(id) FROM outbox WHERE stream = $1";
        let stream = topology::stream(self.producer, event);
        let row = self.database.reader().row(sql, [stream.into()]).await?;
        row.map_or(Ok(None), |row| row.try_get_by_index(0))
    }

    /// Looks every second, and logs what is not in effect, and when it is.
    pub(crate) async fn watch_effects(self, stop: Stop) -> Result<(), DbErr> {
        let mut watch = EffectsWatch::new(&self);
        while stop.sleep(LOOK).await {
            match watch.look().await {
                Ok(changes) => changes.iter().for_each(Change::log),
                Err(error) => tracing::warn!(%error, "not known which changes are in effect"),
            }
        }
        Ok(())
    }
}

/// Remembers which changes were not in effect at the last look.
pub struct EffectsWatch {
    outbox: Outbox,
    /// When each was written, in milliseconds, by stream and row.
    late: BTreeMap<(String, i64), i64>,
}

/// What became of changes of one stream since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stored 2 s ago and more, and `behind` have not passed all of them.
    NotYet {
        stream: String,
        count: usize,
        behind: Vec<&'static str>,
    },
    InEffect {
        stream: String,
        count: usize,
        longest: Duration,
    },
}

impl EffectsWatch {
    pub fn new(outbox: &Outbox) -> Self {
        Self { outbox: outbox.clone(), late: BTreeMap::new() }
    }

    pub async fn look(&mut self) -> Result<Vec<Change>, DbErr> {
        let now_ms = self.outbox.clock.now_ms();
        let mut changes = Vec::new();
        for stream in urgent_streams(self.outbox.producer) {
            let found = late(&self.outbox.database, &stream, now_ms).await?;
            let of_stream = |(of, _): &(String, i64)| *of == stream;
            let before: Vec<i64> =
                self.late.keys().filter(|key| of_stream(key)).map(|(_, row)| *row).collect();
            let mut through = Vec::new();
            for row in before.iter().filter(|row| !found.rows.contains_key(row)) {
                through.extend(self.late.remove(&(stream.clone(), *row)));
            }
            if let Some(oldest) = through.iter().min() {
                let waited = u64::try_from(now_ms - oldest).unwrap_or_default();
                changes.push(Change::InEffect {
                    stream: stream.clone(),
                    count: through.len(),
                    longest: Duration::from_millis(waited),
                });
            }
            let new = found.rows.iter().filter(|(row, _)| !before.contains(row));
            let new: Vec<_> = new.map(|(row, at)| ((stream.clone(), *row), *at)).collect();
            if !new.is_empty() {
                let (count, behind) = (new.len(), found.behind);
                changes.push(Change::NotYet { stream: stream.clone(), count, behind });
            }
            self.late.extend(new);
        }
        Ok(changes)
    }
}

impl Change {
    fn log(&self) {
        match self {
            Self::NotYet { stream, count, behind } => {
                let behind = behind.join(", ");
                tracing::warn!(stream, count, behind, "changes are stored, not yet in effect");
            }
            Self::InEffect { stream, count, longest } => {
                let seconds = longest.as_secs_f64();
                tracing::info!(stream, count, seconds, "changes that were late are in effect");
            }
        }
    }
}

/// How many changes of a service are stored for 2 s and more, and not yet in effect everywhere.
/// `now_ms` is the time in milliseconds since 1970.
pub async fn effects_pending(
    database: &Database,
    producer: &str,
    now_ms: i64,
) -> Result<i64, DbErr> {
    let mut pending = 0;
    for stream in urgent_streams(producer) {
        let passed = passed_by_all(database.reader(), &stream).await?;
        let sql = "SELECT COUNT(*) FROM outbox
                   WHERE stream = $1 AND created_at <= $2 AND (seq IS NULL OR seq > $3)";
        let values = [stream.into(), answered_by(now_ms).into(), passed.into()];
        let row = database.reader().row(sql, values).await?;
        pending += row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))?;
    }
    Ok(pending)
}

struct Late {
    /// When each was written, by row.
    rows: BTreeMap<i64, i64>,
    behind: Vec<&'static str>,
}

async fn late(database: &Database, stream: &str, now_ms: i64) -> Result<Late, DbErr> {
    let reader = database.reader();
    let marks = marks_of(reader, stream).await?;
    let passed = marks.iter().map(|(_, mark)| *mark).min().unwrap_or(0);
    let sql = "SELECT id, created_at, seq FROM outbox
               WHERE stream = $1 AND created_at <= $2 AND (seq IS NULL OR seq > $3)
               ORDER BY id LIMIT $4";
    let values = [stream.into(), answered_by(now_ms).into(), passed.into(), WATCHED.into()];
    let (mut rows, mut last) = (BTreeMap::new(), Some(0));
    for row in reader.rows(sql, values).await? {
        rows.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        last = row.try_get_by_index::<Option<i64>>(2)?;
    }
    let is_behind = |mark: i64| last.is_none_or(|last| mark < last);
    let behind = marks.into_iter().filter(|(_, mark)| is_behind(*mark)).map(|(name, _)| name);
    Ok(Late { rows, behind: behind.collect() })
}

/// What was written by then has been answered.
fn answered_by(now_ms: i64) -> i64 {
    now_ms - i64::try_from(IN_EFFECT_WITHIN.as_millis()).unwrap_or(i64::MAX)
}

fn urgent_streams(producer: &str) -> Vec<String> {
    let of_producer =
        |event: &&str| topology::is_urgent(event) && topology::producers(event).contains(&producer);
    let events = topology::EVENTS.into_iter().filter(|event| of_producer(event));
    events.map(|event| topology::stream(producer, event)).collect()
}
