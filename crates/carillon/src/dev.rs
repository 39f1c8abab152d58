//! `carillon dev`: every service in one process, on embedded parts.

mod config;
mod folder;
mod server;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

pub use config::Config;
pub(crate) use folder::write_secret;
pub use server::{Server, start};

use carillon_service_kit::telemetry;

use crate::{error::Error, serve::Signals};

/// How long stopping may take before it is a hard stop.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  carillon dev --data ./data --port 7070\n\n\
    Settings come from --config FILE (TOML) and from CARILLON__… variables, which win:\n  \
    CARILLON__SMS_DISPATCHER__SANDBOX__REFUSE_SHARE=0.02 carillon dev")]
pub struct DevArgs {
    /// Where everything is kept: databases, keys, and the sandbox's outbox.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 7070)]
    pub port: u16,
    /// A file of settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

pub async fn run(args: DevArgs) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    let telemetry = telemetry::start("carillon", &config.log, &config.telemetry);
    let telemetry = telemetry.map_err(Error::failed)?;
    let served = serve(&args, config).await;
    telemetry.finish().await;
    served
}

async fn serve(args: &DevArgs, config: Config) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let server = start(&args.data, args.port, config).await?;
    let data = args.data.display();
    let greeting = format!(
        "Carillon is running.\n\n  server   {}\n  api key  {}   (also in {data}/api-key)\n  \
         data     {data}\n  outbox   {data}/outbox   (every message of the sandbox gateways)\n\n\
         The key is the platform's: it creates organisations.\n\n  \
         export CARILLON_SERVER={} CARILLON_API_KEY={}\n  \
         carillon org create \"My Café\" --time-zone Europe/Amsterdam\n\nStop with Ctrl-C.",
        server.url, server.platform_key, server.url, server.platform_key,
    );
    // A reader that has seen enough must not stop the server.
    let _ = writeln!(io::stdout(), "{greeting}");
    tokio::select! {
        () = signals.stop() => {}
        () = server.stop.requested() => return Err(Error::failed(
            "a part of the server failed and it stopped; the log above says which",
        )),
    }
    let _ = writeln!(io::stderr(), "stopping: finishing what is under way …");
    tokio::select! {
        stopped = server.stop() => stopped,
        () = signals.stop() => Err(Error::failed("stopped hard, by a second signal")),
    }
}
