//! What every command is given: the server, the key, and the form of its results.

use std::io::{self, BufWriter, Stdout};

use clap::Args;

use crate::{
    client::{Client, DEFAULT_SERVER},
    error::Error,
    output::{Format, Look},
};

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The server's address
    #[arg(long, global = true, env = "CARILLON_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,
    /// The API key
    #[arg(
        long,
        global = true,
        env = "CARILLON_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// The form of the result [default: table]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// What a command works with.
pub struct Context {
    pub look: Look,
    /// As given; a command may have a default of its own.
    pub format: Option<Format>,
    pub out: BufWriter<Stdout>,
    global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let format = global.output;
        let look = Look::of_stdout(format.unwrap_or(Format::Table));
        Self { look, format, out: BufWriter::new(io::stdout()), global }
    }

    /// Connects. Commands check their arguments and files first, so that those need no server.
    pub async fn client(&self) -> Result<Client, Error> {
        let key = self.global.api_key.as_deref().filter(|key| !key.trim().is_empty());
        Client::connect(&self.global.server, key).await
    }
}
