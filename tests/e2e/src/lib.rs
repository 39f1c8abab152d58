//! The whole product from outside: the command, a server of its own for each test, and what the
//! sandbox gateways kept.

pub mod customers;
pub mod server;

pub use server::{Done, Server};
