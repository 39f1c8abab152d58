//! What a call came to, classified where it happened.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it. `parts` is its own count; `None` where it says nothing of it.
    Sent { provider_id: String, parts: Option<u32> },
    /// Surely not taken, and worth trying again.
    Transient { code: String, retry_after: Option<Duration> },
    /// Surely not taken, and never will be. `reason` is a stable snake_case code; `code` is the
    /// provider's own.
    Permanent { reason: &'static str, code: String },
    /// Perhaps taken: never tried again without idempotency on the other side.
    InDoubt { code: String },
    /// The call was not begun: the attempt does not count.
    NotBegun,
}

impl Outcome {
    /// As metrics name it.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "sent",
            Self::Transient { .. } => "transient",
            Self::Permanent { .. } => "permanent",
            Self::InDoubt { .. } => "in_doubt",
            Self::NotBegun => "not_begun",
        }
    }
}
