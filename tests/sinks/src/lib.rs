//! Providers for tests, on the wire: real servers that count what they accept and misbehave as
//! they are told.

mod certificates;
mod gate;
mod session;
pub mod smpp;
pub mod sms;
mod smtp;

pub use certificates::{Authority, Identity};
pub use smtp::{Behaviour, Fault, Mail, SmtpSink, Stage, Tls, What};
