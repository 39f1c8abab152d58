//! What every service knows of organisations: a projection of `organisation.changed` documents,
//! and the callers that their keys stand for. The organisation comes from the credential, never
//! from a field of the request.

mod caller;
mod migration;
mod projection;
mod secret;

pub use caller::{Caller, Key, PLATFORM_PREFIX, hash_key};
pub use migration::{CreateTenancy, NameKeys};
pub use projection::Tenancy;
pub use secret::{
    REPLY_NUMBER, SMS_STANDBY_TOKEN, SMS_TOKEN, SMTP_PASSWORD, open_secret, seal_secret, secret_of,
};
