//! What every service needs and none is about: configuration, the database connection, the
//! clock, gRPC transport and errors, telemetry, and stopping. Never domain.

pub mod clock;
pub mod config;
pub mod database;
pub mod egress;
pub mod faults;
pub mod metrics;
pub mod page;
pub mod panics;
pub mod request_id;
pub mod rpc;
pub mod status;
pub mod stop;
pub mod telemetry;

pub use clock::Clock;
pub use database::Database;
pub use stop::{Stop, longest_call};
