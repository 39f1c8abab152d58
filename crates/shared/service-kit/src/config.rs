//! One typed struct a service, read from a file and from `CARILLON__…` variables, which win.
//! A key that nothing reads is an error that names the nearest one.

use std::path::{Path, PathBuf};

use config::{Config, Environment, File};
use serde::{Deserialize, de::DeserializeOwned};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration file {path}: {message}")]
    File { path: PathBuf, message: String },
    #[error("configuration: {0}")]
    Key(String),
    #[error("secret file {path}: {message}; the file must be readable and hold the secret alone")]
    Secret { path: PathBuf, message: String },
}

/// Reads `file` (TOML; it may be absent only if `file` is `None`), then the environment:
/// `CARILLON__SANDBOX__REFUSE_SHARE=0.1` sets `sandbox.refuse_share`.
pub fn load<T: DeserializeOwned>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let variables = environment.into_iter().filter(|(name, _)| name.starts_with("CARILLON__"));
    let source = Environment::with_prefix("CARILLON")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.collect()));
    let mut builder = Config::builder();
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(config::FileFormat::Toml));
    }
    let merged = builder.add_source(source).build().map_err(|error| match file {
        Some(path) => ConfigError::File { path: path.into(), message: error.to_string() },
        None => ConfigError::Key(error.to_string()),
    })?;
    merged.try_deserialize().map_err(|error| ConfigError::Key(explain(&error.to_string())))
}

/// serde's "unknown field `x`, expected one of `a`, `b`" with the nearest of them named.
fn explain(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    let (Some(given), true) = (words.next(), message.contains("unknown field")) else {
        return message.to_owned();
    };
    let known: Vec<&str> = words.collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(given.len()) / 2);
    match nearest {
        Some((_, name)) => format!("unknown key '{given}'; did you mean '{name}'?"),
        None => format!("unknown key '{given}'; known here: {}", known.join(", ")),
    }
}

/// A secret named by the file that holds it, so that it never stands in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    pub file: PathBuf,
}

impl SecretFile {
    pub fn read(&self) -> Result<Vec<u8>, ConfigError> {
        let failed = |message: String| ConfigError::Secret { path: self.file.clone(), message };
        let mut secret = std::fs::read(&self.file).map_err(|error| failed(error.to_string()))?;
        while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            secret.pop();
        }
        if secret.is_empty() {
            return Err(failed("it is empty".into()));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        port: u16,
        sandbox: Sandbox,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sandbox {
        refuse_share: f64,
        token: String,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { port: 7070, sandbox: Sandbox::default() }
        }
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn variables_override_defaults_and_secrets_keep_their_zeros() {
        let sample: Sample = load(
            None,
            [
                variable("CARILLON__PORT", "7171"),
                variable("CARILLON__SANDBOX__REFUSE_SHARE", "0.25"),
                variable("CARILLON__SANDBOX__TOKEN", "00123"),
                variable("HOME", "/"),
            ],
        )
        .expect("valid");
        assert_eq!((sample.port, sample.sandbox.refuse_share), (7171, 0.25));
        assert_eq!(sample.sandbox.token, "00123");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = load::<Sample>(None, [variable("CARILLON__SANDBOX__REFUSE_SHAER", "1")])
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "configuration: unknown key 'refuse_shaer'; did you mean 'refuse_share'?"
        );
    }

    #[test]
    fn a_key_near_none_lists_what_is_known() {
        let error =
            load::<Sample>(None, [variable("CARILLON__ZZZZZZZZ", "1")]).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "configuration: unknown key 'zzzzzzzz'; known here: port, sandbox"
        );
    }
}
