//! Every statement of this service.

mod migration;
mod runs;
mod schedules;

pub use migration::Migrator;
pub(crate) use runs::{NewRun, has_run, runs};
pub(crate) use schedules::{
    DueSchedule, HaltOrder, any_due_of_all, due_of_all, keep_newest, keep_newest_halt, look_again,
    set_next_fire,
};
