//! A clock that goes by the database's, so that replicas on several machines agree.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sea_orm::DbErr;

use super::{Clock, Source};
use crate::{Database, Stop, database::Sql as _};

/// Between two looks at the database's clock.
const EVERY: Duration = Duration::from_secs(30);
/// A look whose answer was quickest says most; a busy database answers some of them late.
const LOOKS: usize = 5;
/// Being late is made good at once where it is more than this; being early never is.
const JUMP: i64 = 1_000_000;

impl Clock {
    /// Follows the database's clock: looks at once and every 30 s, and goes by this machine's
    /// monotonic clock between. It never goes back: where it is early, it goes at half speed until
    /// it is right.
    pub async fn following(database: &Database, stop: &Stop) -> Result<Self, DbErr> {
        let (at, micros) = look(database).await?;
        let slewed = Arc::new(Slewed::new(at, micros));
        let (following, database, stopping) = (Arc::clone(&slewed), database.clone(), stop.clone());
        stop.spawn("clock", async move {
            while stopping.sleep(EVERY).await {
                match look(&database).await {
                    Ok((at, micros)) => following.correct(at, micros),
                    Err(error) => {
                        tracing::warn!(%error, "the database's clock could not be read; going on by this machine's");
                    }
                }
            }
            Ok::<(), DbErr>(())
        });
        Ok(Self(Source::Following(slewed)))
    }
}

/// The database's time in microseconds, and the moment of this machine that it belongs to.
async fn look(database: &Database) -> Result<(Instant, i64), DbErr> {
    let mut best: Option<(Duration, Instant, i64)> = None;
    for _ in 0..LOOKS {
        let asked = Instant::now();
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
        let row = database.reader().row(sql, []).await?;
        let took = asked.elapsed();
        let row = row.ok_or_else(|| DbErr::Custom("the database has no time".into()))?;
        let micros: i64 = row.try_get_by_index(0)?;
        if best.is_none_or(|(quickest, _, _)| took < quickest) {
            best = Some((took, asked + took / 2, micros));
        }
    }
    let (_, at, micros) = best.ok_or_else(|| DbErr::Custom("the database has no time".into()))?;
    Ok((at, micros))
}

pub(super) struct Slewed(Mutex<Line>);

/// Showed `micros` at `at`, and has `early` microseconds to lose.
struct Line {
    at: Instant,
    micros: i64,
    early: i64,
}

impl Line {
    fn read(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.micros.saturating_add(passed - self.early.min(passed / 2))
    }
}

impl Slewed {
    fn new(at: Instant, micros: i64) -> Self {
        Self(Mutex::new(Line { at, micros, early: 0 }))
    }

    pub(super) fn now(&self) -> Timestamp {
        let micros = self.read(Instant::now());
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
    }

    fn read(&self, now: Instant) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(now)
    }

    /// The right time at `at` was `micros`.
    fn correct(&self, at: Instant, micros: i64) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have read a little later than `at` already: what was shown stays behind us.
        let now = Instant::now().max(at);
        let passed = i64::try_from((now - at).as_micros()).unwrap_or(i64::MAX);
        let (right, shown) = (micros.saturating_add(passed), line.read(now));
        let early = shown.saturating_sub(right);
        if early.abs() > JUMP {
            tracing::warn!(by_ms = -early / 1_000, "this clock and the database's are apart");
        }
        *line = if early > 0 {
            Line { at: now, micros: shown, early }
        } else {
            Line { at: now, micros: right, early: 0 }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn one_that_is_early_goes_slower_until_it_is_right_and_never_back() {
        let start = Instant::now();
        let clock = Slewed::new(start, 10_000_000);
        clock.correct(start, 9_000_000);
        let line = clock.0.lock().expect("whole");
        let begun = line.at;
        let (shown, early) = (line.micros, line.early);
        assert!(early > 0 && early <= 1_000_000 + 1_000, "{early}");
        assert!(shown >= 10_000_000, "what was shown stays");
        assert_eq!(line.read(begun + S), shown + 500_000, "half speed");
        let caught_up = line.read(begun + 4 * S) - (shown + 4_000_000 - early);
        assert_eq!(caught_up, 0, "it is right, and goes on at full speed");
        let mut last = shown;
        for step in 1..100 {
            let read = line.read(begun + S / 20 * step);
            assert!(read > last);
            last = read;
        }
    }

    #[test]
    fn one_that_is_late_is_set_right_at_once() {
        let start = Instant::now();
        let clock = Slewed::new(start, 0);
        clock.correct(start, 60_000_000);
        assert!(clock.read(Instant::now()) >= 60_000_000);
    }
}
