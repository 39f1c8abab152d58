//! The whole product from outside: the command, a server or a stack of services of its own for each
//! test, and what the gateways were given.

use std::process::Command;

pub mod cli;
pub mod customers;
mod front;
pub mod money;
pub mod providers;
pub mod server;
pub mod settings;
pub mod stack;

pub use cli::{Cli, Done, binary, root};
pub use providers::Providers;
pub use server::{LATENCIES, Server};
pub use stack::Stack;

/// By the shell: a program of this name is not on every machine.
fn signal(process: u32, signal: &str) {
    let told = Command::new("sh").args(["-c", &format!("kill -s {signal} {process}")]).status();
    assert!(told.expect("a shell").success());
}
