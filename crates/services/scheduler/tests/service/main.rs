//! The scheduler on a real database and a real broker.

mod firing;
mod halting;
mod listing;
mod once;
mod world;
