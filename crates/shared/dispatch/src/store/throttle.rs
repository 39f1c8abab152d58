//! The row that all replicas lease an account's tokens from.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::Sql as _;
use sea_orm::DbErr;

use super::Store;
use crate::throttle::Shape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leased {
    Tokens { from_ms: i64, count: i64 },
    Later { at_ms: i64 },
}

/// Leases `wanted` tokens or as many as a series has left, from the soonest on, unless the first
/// would be too far away.
pub(crate) async fn lease(
    store: &Store,
    organisation: OrganisationId,
    account: &str,
    shape: Shape,
    wanted: i64,
    (soonest_ms, too_far_ms): (i64, i64),
) -> Result<Leased, DbErr> {
    let tx = store.database.begin().await?;
    let key = [organisation.uuid().into(), account.into()];
    tx.run(
        "INSERT INTO throttles (organisation_id, account, next_at, series) VALUES ($1, $2, 0, 0)
         ON CONFLICT (organisation_id, account) DO NOTHING",
        key.clone(),
    )
    .await?;
    let sql = "SELECT next_at, series FROM throttles
               WHERE organisation_id = $1 AND account = $2 FOR UPDATE";
    let row = tx.row(sql, key.clone()).await?.ok_or(DbErr::RecordNotUpdated)?;
    let (next_at, series): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let (leased, next_at, series) = take(shape, wanted, soonest_ms, too_far_ms, (next_at, series));
    if matches!(leased, Leased::Tokens { .. }) {
        tx.run(
            "UPDATE throttles SET next_at = $3, series = $4
             WHERE organisation_id = $1 AND account = $2",
            [organisation.uuid().into(), account.into(), next_at.into(), series.into()],
        )
        .await?;
    }
    tx.commit().await?;
    Ok(leased)
}

/// The tokens, and the row after them: when the next one begins, and how many of its series are
/// gone.
fn take(
    shape: Shape,
    wanted: i64,
    now_ms: i64,
    too_far_ms: i64,
    (next_at, series): (i64, i64),
) -> (Leased, i64, i64) {
    let from_ms = next_at.max(now_ms);
    if from_ms > too_far_ms {
        return (Leased::Later { at_ms: from_ms }, next_at, series);
    }
    let left = if shape.series == 0 { i64::MAX } else { (shape.series - series).max(1) };
    let count = wanted.clamp(1, left);
    let last = from_ms + shape.spacing_ms * (count - 1);
    let series = if shape.series == 0 { 0 } else { series + count };
    if shape.series > 0 && series >= shape.series {
        let next = last + shape.holds_ms + shape.pause_ms.max(shape.spacing_ms);
        return (Leased::Tokens { from_ms, count }, next, 0);
    }
    (Leased::Tokens { from_ms, count }, last + shape.spacing_ms, series)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::gateway::Throttle;

    /// When each token begins if one worker takes all it can.
    fn run(shape: Shape, wanted: i64, leases: usize) -> Vec<i64> {
        let mut row = (0, 0);
        let mut now = 1_000;
        let mut begins = Vec::new();
        for _ in 0..leases {
            let (leased, next, series) = take(shape, wanted, now, i64::MAX, row);
            row = (next, series);
            let Leased::Tokens { from_ms, count } = leased else { unreachable!("never too far") };
            begins.extend((0..count).map(|n| from_ms + n * shape.spacing_ms));
            now = now.max(from_ms);
        }
        begins
    }

    #[test]
    fn after_a_series_there_is_a_pause() {
        let (pause, gap) = (Duration::from_secs(2), Duration::from_millis(100));
        let shape = Shape::of(Throttle::Series { mails: 5, pause, gap });
        let begins = run(shape, 64, 12);
        let pauses = begins.windows(2).filter(|pair| pair[1] - pair[0] >= 2_000).count();
        assert_eq!(pauses, (begins.len() - 1) / 5);
    }

    #[test]
    fn a_token_that_is_too_far_away_is_not_taken() {
        let shape = Shape::of(Throttle::Rate { per_second: 1 });
        let row = (20_000, 0);
        let (leased, next, _) = take(shape, 1, 1_000, 6_000, row);
        assert_eq!((leased, next), (Leased::Later { at_ms: 20_000 }, 20_000));
    }

    proptest! {
        /// However late within its time each call begins, two are never closer than the gap, and no
        /// series is longer than it may be.
        #[test]
        fn a_gap_and_a_pause_hold_for_calls_anywhere_in_their_tokens(
            mails in 1_u32..20, pause in 0_u64..5_000, gap in 1_u64..2_000, late in 0_i64..100,
        ) {
            let throttle = Throttle::Series {
                mails,
                pause: Duration::from_millis(pause),
                gap: Duration::from_millis(gap),
            };
            let begins = run(Shape::of(throttle), 64, 50);
            for pair in begins.windows(2) {
                // The earlier one as late as it may be, the later one at once.
                prop_assert!(pair[1] - (pair[0] + late) >= i64::try_from(gap).unwrap_or(0));
            }
            let series = usize::try_from(mails).unwrap_or(1);
            for window in begins.windows(series + 1) {
                let waited = window[series] - window[0];
                prop_assert!(waited >= i64::try_from(pause).unwrap_or(0));
            }
        }

        #[test]
        fn a_rate_is_kept_over_any_second(per_second in 1_u32..500) {
            let begins = run(Shape::of(Throttle::Rate { per_second }), 64, 200);
            for (index, begin) in begins.iter().enumerate() {
                let within = begins[index..].iter().take_while(|at| **at < begin + 1_000).count();
                prop_assert!(within <= per_second as usize);
            }
        }
    }
}
