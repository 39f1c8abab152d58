//! The scheduler on a real database and the in-memory broker.

mod firing;
mod listing;
mod world;
