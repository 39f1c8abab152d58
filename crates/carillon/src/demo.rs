//! `carillon demo`: one campaign, from a file of customers to its report, on a server of its own.

mod screen;
mod steps;

use std::path::PathBuf;

use carillon_sms_dispatcher::Config as SmsConfig;

use crate::{demo::screen::Screen, dev, error::Error};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  carillon demo --examples examples --data ./demo")]
pub struct DemoArgs {
    /// The folder of customers.csv, activity.csv and campaign.yaml.
    #[arg(long, value_name = "DIR", default_value = "examples")]
    pub examples: PathBuf,
    /// Where everything is kept; a new temporary folder unless given.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

pub async fn run(args: DemoArgs) -> Result<(), Error> {
    let folder = match args.data {
        Some(folder) => folder,
        None => {
            let unique = uuid::Uuid::new_v4().simple().to_string();
            std::env::temp_dir().join(format!("carillon-demo-{}", &unique[..8]))
        }
    };
    if folder.join("wrapping-key").exists() || folder.join("lock").exists() {
        return Err(Error::failed(format!(
            "--data: '{}' is the data folder of a `carillon dev`; give another, or none",
            folder.display()
        )));
    }
    if !args.examples.join("customers.csv").is_file() {
        return Err(Error::failed(format!(
            "--examples: there is no customers.csv in '{}'; give the folder of the examples",
            args.examples.display()
        )));
    }
    let mut screen = Screen::new();
    screen.title("Carillon: one campaign, from a file of customers to its report")?;
    let server = dev::start(&folder.join("data"), 0, lively()).await?;
    screen.step("Start")?;
    screen.line("six services in one process, on SQLite and an in-memory broker")?;
    screen.line(&format!("address   {}", server.url))?;
    screen.line(&format!("data      {}", folder.display()))?;
    let shown = steps::Demo { server: &server, folder: &folder, examples: &args.examples }
        .show(&mut screen)
        .await;
    let stopped = server.stop().await;
    shown.and(stopped)
}

/// Gateways that behave like real ones: they take their time, refuse a few and fail in passing.
fn lively() -> dev::Config {
    let mut config = dev::Config::default();
    let SmsConfig { sandbox, .. } = &mut config.sms_dispatcher;
    sandbox.latency_ms = 350;
    sandbox.delay_ms = 900;
    sandbox.delay_share = 0.05;
    sandbox.refuse_share = 0.02;
    sandbox.fail_share = 0.04;
    config.email_dispatcher.sandbox = sandbox.clone();
    config
}
