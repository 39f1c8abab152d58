//! The projection of what became of campaigns: it hears every stage, and its sums hold at every
//! read, in whatever order the stages are heard.

mod cursor;
mod figures;
mod get;
mod grpc;
mod hear;
mod listing;
mod messages;
mod recount;
mod select;
mod store;
mod sums;
#[cfg(test)]
mod tests;

pub(crate) use figures::watch;
pub(crate) use hear::Project;
pub(crate) use store::{AddCredits, CreateRecount, CreateReport, has_begun};
