//! Every statement of the report. A `RunKey`, a `BatchRow` and a `ListedBatch` come only from
//! functions that take the organisation or another of them, so what takes one is within it.

mod batches;
mod figures;
mod messages;
mod migration;
mod recount;
mod runs;
mod skips;
mod sums;

use sea_orm::{DbErr, QueryResult};

pub(crate) use batches::{
    BatchRow, NewBatch, any_open, batch, batches_from, save_totals, set_recipients,
};
pub(crate) use figures::{open_of_all_runs, settled_of_all_runs};
pub(crate) use messages::{MessageRow, messages_of, save_messages};
pub(crate) use migration::{AddCredits, CreateRecount, CreateReport};
#[cfg(test)]
pub(crate) use recount::tampering;
pub(crate) use recount::{
    Counted, disagreements_of_all_runs, keep_disagreements, next_batches, recount_is_due,
    recounted_of_all_organisations, save_place, take_recount,
};
pub(crate) use runs::{
    RunKey, RunRow, close_plan, closed_plan, has_begun, lock_campaigns, newest_run, open_run, run,
    set_due, touch,
};
pub(crate) use skips::{Skips, SkipsKey, skips_from};
pub(crate) use sums::run_sums;

/// A count of at most a batch's messages; tables hold wider numbers.
fn small(row: &QueryResult, column: &str) -> Result<u32, DbErr> {
    let wide: i64 = row.try_get("", column)?;
    u32::try_from(wide).map_err(|_| DbErr::Type(format!("{column} is {wide}")))
}
