//! Every statement of a dispatcher. All that touches messages goes through `step`, in one order:
//! fence, batches, records, claims, totals, events.

mod batches;
mod controls;
mod evidence;
mod fence;
mod figures;
mod halts;
mod leases;
mod messages;
mod migration;
mod one_claim;
mod partitions;
mod record;
mod step;
mod takeover;
mod throttle;
mod totals;
mod workers;

pub(crate) use batches::{Due, accepted, due_of_all_organisations, job, money_arrived, raises};
pub(crate) use evidence::{Applied, Baseless};
pub(crate) use figures::{evidence, has_evidence, waiting};
pub(crate) use halts::{barred_of_all_organisations, halt, keep_halt, keep_suppressions};
pub(crate) use messages::{ClaimId, Claimed, Recorded, count_due, see_rows};
pub use migration::Migrator;
pub(crate) use partitions::Partitions;
pub(crate) use step::{Answer, CANCELLED, Claim, ClaimKind, Record, Step, StepError, Store, Which};
pub(crate) use throttle::{Leased, lease};
pub(crate) use workers::Beats;

use carillon_contracts::ids::BatchId;
use sea_orm::{DbErr, QueryResult};

/// A batch's day and id.
pub(crate) type Key = (i32, BatchId);

/// Both databases keep numbers as 64 bits.
fn u32_of(row: &QueryResult, column: &str) -> Result<u32, DbErr> {
    row.try_get::<i64>("", column).map(as_u32)
}

fn day_of(row: &QueryResult) -> Result<i32, DbErr> {
    let day: i64 = row.try_get("", "run_day")?;
    i32::try_from(day).map_err(|_| DbErr::Custom(format!("run_day: {day} is no day")))
}

fn as_u32(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}
