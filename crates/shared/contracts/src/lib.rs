//! The contracts between services: code generated from `proto/`, typed ids, the vocabulary
//! of states and reasons, and conversions. Never I/O.

pub mod ids;
pub mod limits;
pub mod time;
pub mod vocabulary;

#[allow(clippy::all)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

pub use wire::carillon::{
    audience, billing, campaign, dispatch, events, jobs, ops, report, schedule,
};

/// The descriptors of every proto, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
