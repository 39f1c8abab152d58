//! SMTP (RFC 5321) spoken by ourselves: which side of the final dot a failure lies on decides
//! between trying again and never again, and ready-made clients do not tell.

mod connection;
mod dial;
mod pool;
mod tls;
mod trouble;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use connection::Envelope;
pub(crate) use dial::{Limits, Reach, Security, Target};
pub(crate) use pool::Pool;
pub use tls::RootsError;
pub(crate) use tls::client as tls_client;
pub(crate) use trouble::{CertificateFault, Phase, SETTINGS_REST, Trouble, What};
pub(crate) use wire::{Reply, Silence};
