//! The service between a broker, a database and a provider, all real.

mod callbacks;
mod described;
mod failover;
mod harness;
mod parts;
mod replies;
mod smpp;
mod stopping;
mod suite;
mod twilio;
