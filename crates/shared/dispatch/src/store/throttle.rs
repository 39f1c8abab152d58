//! The row that all replicas lease an account's tokens from.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::Sql;
use sea_orm::DbErr;

use crate::throttle::Shape;

/// What a row gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leased {
    /// When the first token begins, or would.
    pub from_ms: i64,
    /// 0 where that is too far away.
    pub count: i64,
    /// Of the series that the tokens belong to.
    pub number: i64,
    /// How many of that series are left after them.
    pub left: i64,
}

/// Leases `wanted` tokens or as many as a series has left, from the soonest on, unless the first
/// would be too far away. One statement, so that replicas take turns at the row.
pub(crate) async fn lease(
    connection: &impl Sql,
    (organisation, account): (OrganisationId, &str),
    shape: Shape,
    wanted: i64,
    (soonest_ms, too_far_ms): (i64, i64),
) -> Result<Leased, DbErr> {
    let values = [
        organisation.uuid().into(),
        account.into(),
        soonest_ms.into(),
        too_far_ms.into(),
        shape.spacing_ms.into(),
        shape.holds_ms.into(),
        shape.series.into(),
        shape.pause_ms.max(shape.spacing_ms).into(),
        wanted.max(1).into(),
        shape.per.into(),
    ];
    let row = connection.row(LEASE, values).await?.ok_or(DbErr::RecordNotUpdated)?;
    let number = |column: &str| row.try_get::<i64>("", column);
    let (gone, series) = (number("series")?, number("number")?);
    let count = number("leased")?;
    let ended = shape.series > 0 && count > 0 && gone == 0;
    Ok(Leased {
        from_ms: number("leased_from")?,
        count,
        number: if ended { series - 1 } else { series },
        left: if ended { 0 } else { (shape.series - gone).max(0) },
    })
}

/// The rule (GCRA), of the row before: `next_at`, when the next token may begin; `series`, how many
/// of a series are gone; `number`, of the series. After the last of a series the next one begins
/// when that one's time is over and the pause, too.
macro_rules! leased {
    ($before:literal) => {
        concat!(
            "SELECT
                 CASE WHEN leased = 0 THEN next_at
                     WHEN ends THEN leased_from + $5 * (leased - 1) + $6 + $8
                     ELSE leased_from + ($5 * leased + $10 - 1) / $10 END,
                 CASE WHEN ends OR $7 = 0 THEN 0 ELSE series + leased END,
                 CASE WHEN ends THEN number + 1 ELSE number END,
                 leased_from, leased
             FROM (
                 SELECT next_at, series, number, leased_from, leased,
                     $7 > 0 AND leased > 0 AND series + leased >= $7 AS ends
                 FROM (
                     SELECT next_at, series, number, leased_from,
                         CASE WHEN leased_from > $4 THEN 0
                             WHEN $7 = 0 OR series + $9 <= $7 THEN $9
                             WHEN series + 1 >= $7 THEN 1
                             ELSE $7 - series END AS leased
                     FROM (
                         SELECT next_at, series, number,
                             CASE WHEN next_at > $3 THEN next_at ELSE $3 END AS leased_from
                         FROM (",
            $before,
            ") AS before
                     ) AS begun
                 ) AS counted
             ) AS ended"
        )
    };
}

const LEASE: &str = concat!(
    "INSERT INTO throttles
         (organisation_id, account, next_at, series, number, leased_from, leased)
     SELECT $1, $2, first.* FROM (",
    leased!(
        "SELECT CAST(0 AS BIGINT) AS next_at, CAST(0 AS BIGINT) AS series,
             CAST(0 AS BIGINT) AS number"
    ),
    ") AS first WHERE true
     ON CONFLICT (organisation_id, account) DO UPDATE
     SET (next_at, series, number, leased_from, leased) = (",
    leased!(
        "SELECT throttles.next_at AS next_at, throttles.series AS series,
             throttles.number AS number"
    ),
    ") RETURNING series, number, leased_from, leased"
);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use carillon_testkit::TestDatabase;
    use proptest::prelude::*;
    use tokio::runtime::Runtime;
    use uuid::Uuid;

    use super::*;
    use crate::gateway::Throttle;

    const FAR: i64 = i64::MAX / 4;

    /// A database, and accounts of nobody else.
    struct Rows {
        runtime: Runtime,
        database: TestDatabase,
    }

    struct Account<'a>(&'a Rows, OrganisationId);

    impl Rows {
        fn new() -> Self {
            let runtime = Runtime::new().expect("a runtime");
            let database = runtime.block_on(carillon_testkit::database::<crate::Migrator>());
            Self { runtime, database }
        }

        fn account(&self) -> Account<'_> {
            Account(self, OrganisationId::new(Uuid::new_v4()))
        }
    }

    /// When a token begins in microseconds, its series, and how many are left of that.
    type Begins = (i64, i64, i64);

    impl Account<'_> {
        fn lease(&self, shape: Shape, wanted: i64, window: (i64, i64)) -> Leased {
            let Self(rows, organisation) = self;
            let writer = rows.database.database.writer();
            let leased = lease(writer, (*organisation, "account"), shape, wanted, window);
            rows.runtime.block_on(leased).expect("leased")
        }

        /// What replicas get that ask for so many each, so long after the one before.
        fn run(&self, shape: Shape, asked: &[(i64, i64)]) -> Vec<Begins> {
            let (mut now, mut begins) = (1_000, Vec::new());
            for (wanted, later) in asked {
                now += later;
                let leased = self.lease(shape, *wanted, (now, FAR));
                assert!(leased.count >= 1 && leased.from_ms >= now, "{leased:?}");
                begins.extend((0..leased.count).map(|n| {
                    let after = i64::try_from(shape.after(n).as_micros()).expect("short");
                    let at = leased.from_ms * 1_000 + after;
                    (at, leased.number, leased.left + leased.count - 1 - n)
                }));
            }
            begins
        }
    }

    #[test]
    fn after_a_series_there_is_a_pause_and_its_last_token_says_so() {
        let (pause, gap) = (Duration::from_secs(2), Duration::from_millis(100));
        let shape = Shape::of(Throttle::Series { mails: 5, pause, gap });
        let rows = Rows::new();
        let begins = rows.account().run(shape, &[(2, 0), (64, 0), (1, 0), (3, 0), (64, 0), (9, 0)]);
        let places: Vec<_> = begins.iter().map(|(_, number, left)| (*number, *left)).collect();
        let of = |number| (0..5).rev().map(move |left| (number, left));
        assert_eq!(places, of(0).chain(of(1)).chain(of(2)).collect::<Vec<_>>());
        let pauses = begins.windows(2).filter(|pair| pair[1].0 - pair[0].0 >= 2_000_000);
        assert!(pauses.map(|pair| pair[0].2).eq([0, 0]), "{begins:?}");
    }

    #[test]
    fn a_token_that_is_too_far_away_is_not_taken() {
        let shape = Shape::of(Throttle::Rate { per_second: 1 });
        let rows = Rows::new();
        let account = rows.account();
        assert_eq!(account.lease(shape, 20, (1_000, FAR)).count, 20);
        let (first, again) = (account.lease(shape, 1, (1_000, 6_000)), (1_000, 6_000));
        assert_eq!((first.from_ms, first.count), (21_000, 0));
        assert_eq!(account.lease(shape, 1, again), first, "asking takes nothing");
        assert_eq!(account.lease(shape, 1, (1_000, 21_000)).count, 1);
    }

    fn asked() -> impl Strategy<Value = Vec<(i64, i64)>> {
        let later = prop_oneof![3 => Just(0), 1 => 0_i64..4_000];
        proptest::collection::vec((1_i64..70, later), 1..25)
    }

    #[test]
    fn a_gap_and_a_pause_hold_for_calls_anywhere_in_their_tokens() {
        let rows = Rows::new();
        let throttles = (1_u32..20, 0_u64..5_000, 0_u64..2_000);
        let config = ProptestConfig::with_cases(24);
        proptest!(config, |((mails, pause, gap) in throttles, asked in asked())| {
            let shape = Shape::of(Throttle::Series {
                mails,
                pause: Duration::from_millis(pause),
                gap: Duration::from_millis(gap),
            });
            let [pause, gap] = [pause, gap].map(|ms| i64::try_from(ms * 1_000).expect("short"));
            let holds = shape.holds_ms * 1_000;
            let begins = rows.account().run(shape, &asked);
            for pair in begins.windows(2) {
                // The earlier one as late as it may be, the later one at once.
                let late = pair[0].0 + if gap == 0 { 0 } else { holds };
                prop_assert!(pair[1].0 - late >= gap);
                if pair[1].1 != pair[0].1 {
                    prop_assert_eq!(pair[0].2, 0, "a series goes on to its end");
                    prop_assert!(pair[1].0 - (pair[0].0 + holds) >= pause);
                }
            }
            let mut sizes: BTreeMap<i64, u32> = BTreeMap::new();
            begins.iter().for_each(|(_, number, _)| *sizes.entry(*number).or_default() += 1);
            prop_assert!(sizes.values().all(|size| *size <= mails));
        });
    }

    #[test]
    fn a_rate_is_kept_over_any_second_and_reached_by_all_who_ask_together() {
        let rows = Rows::new();
        let config = ProptestConfig::with_cases(24);
        proptest!(config, |(per_second in 1_u32..500, asked in asked())| {
            let shape = Shape::of(Throttle::Rate { per_second });
            let begins = rows.account().run(shape, &asked);
            for (index, (begin, ..)) in begins.iter().enumerate() {
                let within = begins[index..].iter().take_while(|at| at.0 < begin + 1_000_000).count();
                prop_assert!(within <= per_second as usize);
            }
            let begins = rows.account().run(shape, &[(shape.most, 0); 8]);
            let (first, last) = (begins[0].0, begins[begins.len() - 1].0);
            let least = i64::try_from(shape.after(8 * shape.most - 1).as_micros()).expect("short");
            // A lease begins at a whole millisecond.
            prop_assert!((least..=least + 8_000).contains(&(last - first)));
        });
    }
}
