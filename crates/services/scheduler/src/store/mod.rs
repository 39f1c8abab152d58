//! Every statement of this service.

mod migration;
mod runs;
mod schedules;

pub use migration::Migrator;
pub(crate) use runs::{NewRun, has_run, runs};
pub(crate) use schedules::{DueSchedule, any_due_of_all, clear_next_fire, due_of_all, keep_newest};
