use carillon_dispatch::sandbox::SandboxConfig;
use serde::Deserialize;

/// What can be set of this service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How the sandbox gateway misbehaves.
    pub sandbox: SandboxConfig,
}
